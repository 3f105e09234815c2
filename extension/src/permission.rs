//! Who may do what on a channel.

use std::ffi::CStr;

use pgrx::pg_sys::{Datum, Oid};
use pgrx::{pg_extern, pg_sys};

use crate::argument::Text;
use crate::channel::Channel;
use crate::error::Error;
use crate::registry::Registered;
use crate::{caller, policy};

/// What a role may do on a registered channel. Whoever owns it may do the others, too.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Right {
    Publish,
    Consume,
    Own,
}

/// In whose name something is published.
#[derive(Clone, Copy)]
pub(crate) struct Publisher {
    pub(crate) role: Oid,
    /// The table whose changes it publishes as their owner; invalid if it is the caller.
    pub(crate) table: Oid,
}

impl Publisher {
    /// The effective role: that of SET ROLE, or the owner of a function that is SECURITY DEFINER.
    pub(crate) fn caller() -> Self {
        // SAFETY: reads a variable of this backend.
        Self { role: unsafe { pg_sys::GetUserId() }, table: Oid::INVALID }
    }
}

/// Refuses whoever has not a right on a channel, and returns its id: one look at the registry is for
/// both. A channel that is not registered has none, and everybody may do everything on it.
pub(crate) fn check(
    channel: &Channel,
    right: Right,
    publisher: Publisher,
) -> Result<Option<i64>, Error> {
    let look = |found: &Registered| (found.id, found.allows(publisher.role, right));
    match policy::find(channel, look)? {
        Some((_, false)) => Err(deny(right, channel, publisher)),
        found => Ok(found.map(|(id, _)| id)),
    }
}

fn may(channel: &Channel, right: Right, role: Oid) -> Result<bool, Error> {
    Ok(policy::find(channel, |registered| registered.allows(role, right))?.unwrap_or(true))
}

/// Ends the statement with the error that a right is missing.
pub(crate) fn deny(right: Right, channel: &Channel, publisher: Publisher) -> Error {
    let right = match right {
        Right::Publish => "publish",
        Right::Consume => "consume",
        Right::Own => "own",
    };
    raise(
        c"deny",
        &[
            text(right.as_bytes()),
            text(channel.bytes()),
            (pg_sys::REGROLEOID, Datum::from(publisher.role)),
            (pg_sys::REGCLASSOID, Datum::from(publisher.table)),
        ],
    )
}

/// An argument of [`raise`].
pub(crate) fn text(bytes: &[u8]) -> (Oid, Datum) {
    let length = i32::try_from(bytes.len()).expect("a varlena is shorter than 1 GiB");
    // SAFETY: the bytes outlive the call, which copies them.
    let text = unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), length) };
    (pg_sys::TEXTOID, Datum::from(text))
}

/// Calls a function of the extension that ends in an error. SQL quotes names, in any encoding.
pub(crate) fn raise(name: &CStr, arguments: &[(Oid, Datum)]) -> Error {
    let types: Vec<Oid> = arguments.iter().map(|(of, _)| *of).collect();
    // SAFETY: the arguments are of the types with which the function is found.
    unsafe {
        let types = pg_sys::buildoidvector(types.as_ptr(), types.len() as i32);
        let function = find(c"notify_json", name, Datum::from(types));
        if function != Oid::INVALID {
            let argument = |index: usize| arguments.get(index).map_or(Datum::from(0), |a| a.1);
            match arguments.len() {
                1 => pg_sys::OidFunctionCall1Coll(function, Oid::INVALID, argument(0)),
                _ => pg_sys::OidFunctionCall4Coll(
                    function,
                    Oid::INVALID,
                    argument(0),
                    argument(1),
                    argument(2),
                    argument(3),
                ),
            };
        }
    }
    Error::Version { table: "schema notify_json" }
}

/// The function of a schema, a name and the types of its arguments; invalid if there is none.
///
/// # Safety
/// `types` must be an `oidvector`.
pub(crate) unsafe fn find(schema: &CStr, name: &CStr, types: Datum) -> Oid {
    // SAFETY: the caller vouches for the types; the names are NUL-terminated.
    unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            Datum::from(name.as_ptr()),
            types,
            Datum::from(schema),
            Datum::from(0),
        )
    }
}

#[pg_extern(sql = false)]
fn may_publish(channel: Text<'_>, role: Oid) -> bool {
    let allowed =
        Channel::new(Some(channel)).and_then(|channel| may(&channel, Right::Publish, role));
    allowed.unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = false)]
fn may_consume(channel: Text<'_>, role: Oid) -> bool {
    let allowed =
        Channel::new(Some(channel)).and_then(|channel| may(&channel, Right::Consume, role));
    allowed.unwrap_or_else(|error| error.raise())
}

/// Whether the caller may see what a snapshot has of a channel.
#[pg_extern(sql = false)]
fn sees(channel: Text<'_>, id: i64, publishing: bool) -> bool {
    let role = Publisher::caller().role;
    let sees = |now: &Registered| {
        let allowed = |right| now.allows(role, right);
        now.id == id && (allowed(Right::Consume) || publishing && allowed(Right::Publish))
    };
    let visible = Channel::new(Some(channel))
        .and_then(|channel| Ok(policy::find(&channel, sees)? == Some(true)));
    visible.unwrap_or_else(|error| error.raise())
}

/// The id of a channel for whoever may consume it.
#[pg_extern(sql = false)]
fn consumable(channel: Text<'_>) -> Option<i64> {
    let id = Channel::new(Some(channel)).and_then(|channel| {
        let caller = Publisher { role: caller::caller(), table: Oid::INVALID };
        check(&channel, Right::Consume, caller)
    });
    id.unwrap_or_else(|error| error.raise())
}

/// Refuses to let a table publish on a channel: the caller needs the right, and so does its owner.
#[pg_extern(sql = false)]
fn check_publisher(channel: Text<'_>, table: Oid, owner: Oid) {
    let allowed = Channel::new(Some(channel)).and_then(|channel| {
        check(&channel, Right::Publish, Publisher::caller())?;
        check(&channel, Right::Publish, Publisher { role: owner, table })
    });
    allowed.unwrap_or_else(|error| error.raise());
}
