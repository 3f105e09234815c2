//! Functions that find out who calls them.
//!
//! `notify_json.fetch` and its like work with the rights of the extension, where `current_user`
//! says nothing of the caller. So the name that everybody calls is a function of this file, which
//! runs as the caller: it checks the right, then calls its namesake in `notify_json_unchecked`.

use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::pg_sys::{
    Datum, FmgrInfo, FunctionCallInfo, FunctionCallInfoBaseData, NullableDatum, Oid,
};
use pgrx::{FromDatum, pg_sys};

use crate::argument::Text;
use crate::channel::Channel;
use crate::error::Error;
use crate::permission::{Publisher, Right, check, deny, find, raise, text};
use crate::{caller, policy};

/// What a checked function calls, found at its first call in a query.
struct Target {
    function: FmgrInfo,
    /// The place of the channel among the arguments; `None` if the function is about all.
    channel: Option<usize>,
}

impl Target {
    /// # Safety
    /// `outer` must be of a function that the server is calling.
    unsafe fn of<'a>(outer: *mut FmgrInfo) -> Result<&'a mut Self, Error> {
        // SAFETY: the caller vouches for it. What is found lives as long as the record of the
        // function, and is plain data.
        unsafe {
            if (*outer).fn_extra.is_null() {
                let size = size_of::<Self>();
                let target = pg_sys::MemoryContextAllocZero((*outer).fn_mcxt, size).cast::<Self>();
                let (function, channel) = Self::find((*outer).fn_oid);
                if function == Oid::INVALID {
                    return Err(Error::Version { table: "schema notify_json_unchecked" });
                }
                (*target).channel = channel;
                pg_sys::fmgr_info_cxt(function, &mut (*target).function, (*outer).fn_mcxt);
                (*target).function.fn_expr = (*outer).fn_expr;
                (*outer).fn_extra = target.cast();
            }
            Ok(&mut *(*outer).fn_extra.cast())
        }
    }

    /// The namesake of a function, with the same arguments, and the place of the channel.
    ///
    /// # Safety
    /// The oid must be that of a function.
    unsafe fn find(outer: Oid) -> (Oid, Option<usize>) {
        // SAFETY: the tuple is a row of pg_proc until it is released.
        unsafe {
            let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
            let tuple = pg_sys::SearchSysCache1(cache, Datum::from(outer));
            if tuple.is_null() {
                return (Oid::INVALID, None);
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
            let name = CStr::from_ptr((*form).proname.data.as_ptr());
            let types = Datum::from(std::ptr::addr_of!((*form).proargtypes));
            let function = find(c"notify_json_unchecked", name, types);
            let (mut types, mut names, mut modes) = (null_mut(), null_mut(), null_mut());
            pg_sys::get_func_arg_info(tuple, &mut types, &mut names, &mut modes);
            // Without arguments there are no names.
            let channel = (0..(*form).pronargs as usize).find(|place| {
                let name = CStr::from_ptr(*names.add(*place));
                name == c"channel" || name == c"name"
            });
            pg_sys::ReleaseSysCache(tuple);
            (function, channel)
        }
    }
}

/// What [`call_checked`] is to call, and with what.
type Prepared = (unsafe extern "C-unwind" fn(FunctionCallInfo) -> Datum, FunctionCallInfo);

/// Checks the right. The namesake is called as the function was: a set of rows goes where the caller
/// wants it.
///
/// # Safety
/// The server must have filled the call in.
unsafe fn prepare(call: FunctionCallInfo, right: Option<Right>) -> Result<Prepared, Error> {
    // SAFETY: the server keeps the record of the function and the arguments until the call ends.
    unsafe {
        let target = Target::of((*call).flinfo)?;
        let arguments = (*call).nargs as usize;
        match (right, target.channel) {
            (None, _) => {}
            (Some(right), Some(place)) => {
                let argument = &(*call).args.as_slice(arguments)[place];
                check_argument(Text::from_datum(argument.value, argument.isnull), right)?;
            }
            (Some(right), None) => check_any(right)?,
        }
        let size = size_of::<FunctionCallInfoBaseData>() + arguments * size_of::<NullableDatum>();
        let inner = pg_sys::palloc(size).cast::<FunctionCallInfoBaseData>();
        std::ptr::copy_nonoverlapping(call.cast::<u8>(), inner.cast::<u8>(), size);
        (*inner).flinfo = &mut target.function;
        caller::enter(pg_sys::GetUserId());
        Ok((target.function.fn_addr.expect("fmgr_info_cxt sets it"), inner))
    }
}

/// Calls the namesake. No guard is around that: pgrx's would take the context of an error away, and
/// what only the server's log is to have. So nothing here may need to be dropped.
///
/// # Safety
/// The server must have filled the call in.
unsafe fn call_checked(call: FunctionCallInfo, right: Option<Right>) -> Datum {
    // SAFETY: the caller vouches for the call.
    unsafe {
        let (function, inner) =
            pgrx_extern_c_guard(|| prepare(call, right).unwrap_or_else(|error| error.raise()));
        let result = function(inner);
        (*call).isnull = (*inner).isnull;
        caller::leave();
        result
    }
}

/// The check of an argument. NULL is left for the function itself to refuse.
fn check_argument(channel: Option<Text<'_>>, right: Right) -> Result<(), Error> {
    let Some(channel) = channel else { return Ok(()) };
    // SAFETY: reads shared memory that every backend is attached to.
    if unsafe { pg_sys::RecoveryInProgress() } {
        // Nothing can be read or changed there, which the function says.
        return Ok(());
    }
    let id = match Channel::named(channel.bytes()) {
        Ok(name) => check(&name, right, Publisher::caller())?,
        Err(_) => None,
    };
    // It must not be registered between here and the rest of the function.
    id.map(drop).ok_or_else(|| raise(c"unknown_channel", &[text(channel.bytes())]))
}

/// The check of a function that is about all channels: one of them is enough.
fn check_any(right: Right) -> Result<(), Error> {
    let registry = policy::latest()?;
    let mut channels = registry.iter().flat_map(|registry| registry.channels.values());
    let caller = Publisher::caller();
    // SAFETY: looks into a cache of a catalog.
    if unsafe { pg_sys::superuser_arg(caller.role) }
        || channels.any(|channel| channel.allows(caller.role, right))
    {
        return Ok(());
    }
    Err(deny(right, &Channel::of(b""), caller))
}

/// A C function that checks a right, or none, and goes on to the function's namesake.
macro_rules! checked {
    ($name:ident, $info:ident, $right:expr) => {
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $name(call: FunctionCallInfo) -> Datum {
            // SAFETY: the server calls it.
            unsafe { call_checked(call, $right) }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $info() -> &'static pg_sys::Pg_finfo_record {
            &pg_sys::Pg_finfo_record { api_version: 1 }
        }
    };
}

checked!(checked_for_consumers, pg_finfo_checked_for_consumers, Some(Right::Consume));
checked!(checked_for_owners, pg_finfo_checked_for_owners, Some(Right::Own));
checked!(checked_for_anybody, pg_finfo_checked_for_anybody, None);
