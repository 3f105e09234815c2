//! SQL arguments as bytes of the database's encoding.
//!
//! pgrx's `&str` needs UTF-8 or ASCII, and its `JsonB` and `Json` re-serialise; these types hand
//! over what the server holds.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::CStr;

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::nullable::Nullable;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, PgSqlErrorCode, PgTryBuilder, direct_function_call, pg_sys};

use crate::error::Error;

/// A `text`.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a>(&'a [u8]);

/// A `json`: text that the server has checked.
pub(crate) struct Json<'a>(&'a [u8]);

/// A `jsonb`, as the server writes it.
pub(crate) struct Jsonb<'a>(&'a [u8]);

/// A string of the server as UTF-8. `what` names it in errors.
pub(crate) fn to_utf8<'a>(bytes: &'a [u8], what: &'static str) -> Result<Cow<'a, str>, Error> {
    let unconverted = || {
        std::str::from_utf8(bytes)
            .map(Cow::Borrowed)
            .map_err(|error| Error::NotUtf8 { what, valid_up_to: error.valid_up_to() })
    };
    match Encoding::of_database() {
        Encoding::Utf8 | Encoding::SqlAscii => unconverted(),
        Encoding::Other if bytes.is_ascii() => unconverted(),
        Encoding::Other => convert(bytes).ok_or(Error::Untranslatable { what }).map(Cow::Borrowed),
    }
}

/// The database's encoding as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// Bytes pass through unchecked and unconverted.
    SqlAscii,
    Other,
}

impl Encoding {
    /// Asked once: a backend stays in its database, and a call into the server is guarded.
    pub(crate) fn of_database() -> Self {
        thread_local! {
            static ENCODING: Cell<Option<Encoding>> = const { Cell::new(None) };
        }
        if let Some(encoding) = ENCODING.get() {
            return encoding;
        }
        // SAFETY: reads a variable of this backend.
        let encoding = match unsafe { pg_sys::GetDatabaseEncoding() as u32 } {
            pg_sys::pg_enc::PG_UTF8 => Self::Utf8,
            pg_sys::pg_enc::PG_SQL_ASCII => Self::SqlAscii,
            _ => Self::Other,
        };
        ENCODING.set(Some(encoding));
        encoding
    }
}

/// `None` if a character has no equivalent in UTF-8, or the encoding no conversion to it. The
/// server's own error would quote bytes. The result lives in the function's memory context.
fn convert<'a>(bytes: &[u8]) -> Option<&'a str> {
    let length = i32::try_from(bytes.len()).expect("a varlena is shorter than 1 GiB");
    PgTryBuilder::new(|| {
        // SAFETY: `bytes` is valid in the database's encoding, since the server made it; other
        // than that encoding was ruled out, so the result is a fresh NUL-terminated string.
        let converted = unsafe {
            let utf8 = pg_sys::pg_enc::PG_UTF8 as i32;
            let converted = pg_sys::pg_server_to_any(bytes.as_ptr().cast(), length, utf8);
            CStr::from_ptr(converted)
        };
        converted.to_str().ok()
    })
    .catch_when(PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION, |_| None)
    .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, |_| None)
    .execute()
}

macro_rules! bytes_argument {
    ($type:ident, $sql:literal, $bytes:expr) => {
        impl<'a> $type<'a> {
            pub(crate) fn bytes(&self) -> &'a [u8] {
                self.0
            }
        }

        // SAFETY: pgrx calls this with a datum of the SQL type named below.
        unsafe impl<'fcx> ArgAbi<'fcx> for $type<'fcx> {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: as above; only nullable arguments are declared, which take the other way.
                unsafe { Self::unbox_nullable_arg(arg) }
                    .into_option()
                    .expect("arguments are declared as Option")
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                // SAFETY: as above.
                unsafe { arg.unbox_arg_using_from_datum::<$type<'fcx>>() }.into()
            }
        }

        impl<'a> FromDatum for $type<'a> {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                _: pg_sys::Oid,
            ) -> Option<Self> {
                let bytes: unsafe fn(pg_sys::Datum) -> Option<&'a [u8]> = $bytes;
                if is_null {
                    return None;
                }
                // SAFETY: the caller hands over a datum of this SQL type.
                unsafe { bytes(datum) }.map(Self)
            }
        }

        // SAFETY: the datum read above is of the type named here.
        unsafe impl SqlTranslatable for $type<'_> {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($type);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }
    };
}

bytes_argument!(Text, "text", varlena_bytes);
bytes_argument!(Json, "json", varlena_bytes);
bytes_argument!(Jsonb, "jsonb", jsonb_bytes);

/// # Safety
/// `datum` must be a varlena of text.
unsafe fn varlena_bytes<'a>(datum: pg_sys::Datum) -> Option<&'a [u8]> {
    // SAFETY: the caller vouches for the datum.
    unsafe { <&[u8]>::from_datum(datum, false) }
}

/// # Safety
/// `datum` must be a `jsonb`.
unsafe fn jsonb_bytes<'a>(datum: pg_sys::Datum) -> Option<&'a [u8]> {
    // SAFETY: the caller vouches for the datum; the result lives in the function's memory context.
    unsafe { direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(datum)]) }.map(CStr::to_bytes)
}
