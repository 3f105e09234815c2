//! Values as JSON, byte for byte as `to_json` writes them.

use std::ffi::{CStr, c_char};
use std::io::Write;

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, FmgrInfo, MemoryContext, Oid};
use pgrx::varlena::{varatt_is_1b, varatt_is_1b_e, varatt_is_4b_u, varlena_to_byte_slice};

use super::memory::within;

/// How values of a type are written. The functions live as long as the memory context they were
/// looked up in.
#[derive(Clone, Copy)]
pub(super) enum Writer {
    Bool,
    Int2,
    Int4,
    Int8,
    /// A string whose bytes are the value's.
    Text,
    /// The bytes are JSON.
    Json,
    /// Of this type: `date`, `timestamp` or `timestamptz`.
    Time(Oid),
    /// The output is a number, or not finite.
    Number(*mut FmgrInfo),
    /// The output is JSON.
    Output(*mut FmgrInfo),
    /// The output is a string.
    Quoted(*mut FmgrInfo),
    /// `to_json` itself: arrays, rows, and types with a cast to JSON of their own.
    ToJson(*mut FmgrInfo),
}

impl Writer {
    /// # Safety
    /// `context` must outlive the writer.
    pub(super) unsafe fn of_type(declared: Oid, context: MemoryContext) -> Self {
        // SAFETY: looks types up; the caller vouches for the context.
        unsafe {
            let base = pg_sys::getBaseType(declared);
            match base {
                pg_sys::BOOLOID => Self::Bool,
                pg_sys::INT2OID => Self::Int2,
                pg_sys::INT4OID => Self::Int4,
                pg_sys::INT8OID => Self::Int8,
                pg_sys::FLOAT4OID | pg_sys::FLOAT8OID | pg_sys::NUMERICOID => {
                    Self::Number(output_function(base, context))
                }
                pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => Self::Text,
                pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Self::Time(base),
                pg_sys::JSONOID => Self::Json,
                pg_sys::JSONBOID => Self::Output(output_function(base, context)),
                _ if base.to_u32() >= pg_sys::FirstNormalObjectId
                    || pg_sys::get_element_type(base) != Oid::INVALID
                    || pg_sys::type_is_rowtype(base) =>
                {
                    Self::ToJson(to_json(declared, context))
                }
                _ => Self::Quoted(output_function(base, context)),
            }
        }
    }

    /// # Safety
    /// `value` must be of the type. Leaves what it allocates to the current memory context.
    pub(super) unsafe fn write(self, value: Datum, json: &mut Vec<u8>) {
        // SAFETY: by the caller's promise each datum is what its type says.
        unsafe {
            match self {
                Self::Bool => {
                    json.extend_from_slice(if value.value() != 0 { b"true" } else { b"false" });
                }
                Self::Int2 => integer(json, i64::from(value.value() as i16)),
                Self::Int4 => integer(json, i64::from(value.value() as i32)),
                Self::Int8 => integer(json, value.value() as i64),
                Self::Text => quote(bytes(value), json),
                Self::Json => json.extend_from_slice(bytes(value)),
                Self::Time(of_type) => time(value, of_type, json),
                Self::Number(function) => {
                    let output = output(function, value);
                    if output.iter().any(u8::is_ascii_digit) {
                        json.extend_from_slice(output);
                    } else {
                        quote(output, json);
                    }
                }
                Self::Output(function) => json.extend_from_slice(output(function, value)),
                Self::Quoted(function) => quote(output(function, value), json),
                Self::ToJson(function) => {
                    let value = pg_sys::FunctionCall1Coll(function, Oid::INVALID, value);
                    json.extend_from_slice(bytes(value));
                }
            }
        }
    }
}

/// A string as `to_json` writes it: escaped is only what JSON demands.
pub(super) fn quote(text: &[u8], json: &mut Vec<u8>) {
    json.push(b'"');
    let mut rest = text;
    while let Some(place) = rest.iter().position(|&b| b < b' ' || b == b'"' || b == b'\\') {
        json.extend_from_slice(&rest[..place]);
        match rest[place] {
            0x08 => json.extend_from_slice(b"\\b"),
            0x0c => json.extend_from_slice(b"\\f"),
            b'\n' => json.extend_from_slice(b"\\n"),
            b'\r' => json.extend_from_slice(b"\\r"),
            b'\t' => json.extend_from_slice(b"\\t"),
            quoted @ (b'"' | b'\\') => json.extend_from_slice(&[b'\\', quoted]),
            control => write!(json, "\\u{control:04x}").expect("writing to memory"),
        }
        rest = &rest[place + 1..];
    }
    json.extend_from_slice(rest);
    json.push(b'"');
}

pub(super) fn integer(json: &mut Vec<u8>, value: i64) {
    write!(json, "{value}").expect("writing to memory");
}

/// # Safety
/// `value` must be of the type, which is one of the three of [`Writer::Time`].
unsafe fn time(value: Datum, of_type: Oid, json: &mut Vec<u8>) {
    let mut buffer = [0 as c_char; pg_sys::MAXDATELEN as usize + 1];
    // SAFETY: the buffer has the size that the server demands, and the result lies in it.
    let text = unsafe {
        pg_sys::JsonEncodeDateTime(buffer.as_mut_ptr(), value, of_type, std::ptr::null());
        CStr::from_ptr(buffer.as_ptr())
    };
    json.push(b'"');
    json.extend_from_slice(text.to_bytes());
    json.push(b'"');
}

/// # Safety
/// `value` must be a varlena.
unsafe fn bytes<'a>(value: Datum) -> &'a [u8] {
    let mut pointer: *mut pg_sys::varlena = value.cast_mut_ptr();
    // SAFETY: by the caller's promise; detoasted is what is compressed or stored elsewhere.
    unsafe {
        let inline = varatt_is_1b(pointer) && !varatt_is_1b_e(pointer) || varatt_is_4b_u(pointer);
        if !inline {
            pointer = pg_sys::pg_detoast_datum_packed(pointer);
        }
        varlena_to_byte_slice(pointer)
    }
}

/// # Safety
/// `function` must be the output function of the value's type.
unsafe fn output<'a>(function: *mut FmgrInfo, value: Datum) -> &'a [u8] {
    // SAFETY: an output function returns a NUL-terminated string.
    unsafe { CStr::from_ptr(pg_sys::OutputFunctionCall(function, value)) }.to_bytes()
}

/// # Safety
/// The function lives as long as the context.
unsafe fn output_function(of_type: Oid, context: MemoryContext) -> *mut FmgrInfo {
    let (mut function, mut is_varlena) = (Oid::INVALID, false);
    // SAFETY: both pointers outlive the call.
    unsafe {
        pg_sys::getTypeOutputInfo(of_type, &mut function, &mut is_varlena);
        look_up(function, context)
    }
}

/// # Safety
/// The function lives as long as the context.
unsafe fn to_json(of_type: Oid, context: MemoryContext) -> *mut FmgrInfo {
    // SAFETY: the call that the function finds the type of its argument in is made in the context.
    unsafe {
        let function = look_up(Oid::from(pg_sys::F_TO_JSON), context);
        let call = within(context, || {
            let argument = pg_sys::makeNullConst(of_type, -1, Oid::INVALID);
            pg_sys::makeFuncExpr(
                Oid::from(pg_sys::F_TO_JSON),
                pg_sys::JSONOID,
                pg_sys::lappend(std::ptr::null_mut(), argument.cast()),
                Oid::INVALID,
                Oid::INVALID,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
            )
        });
        (*function).fn_expr = call.cast();
        function
    }
}

/// # Safety
/// The function lives as long as the context.
unsafe fn look_up(function: Oid, context: MemoryContext) -> *mut FmgrInfo {
    // SAFETY: allocated in the context, zeroed, and filled by the server.
    unsafe {
        let info = pg_sys::MemoryContextAllocZero(context, size_of::<FmgrInfo>()).cast();
        pg_sys::fmgr_info_cxt(function, info, context);
        info
    }
}
