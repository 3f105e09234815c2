//! Functions that find out who calls them.
//!
//! `notify_json.fetch` and its like work with the rights of the extension, where `current_user`
//! says nothing of the caller. So the name that everybody calls is a function of this file, which
//! runs as the caller: it checks the right, then calls its namesake in `notify_json_unchecked`.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys::{Datum, FmgrInfo, FunctionCallInfo, Oid};
use pgrx::{FromDatum, pg_extern, pg_guard, pg_sys};

use crate::argument::Text;
use crate::channel::Channel;
use crate::error::Error;
use crate::permission::{Publisher, Right, deny, find, raise, text};
use crate::policy;

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

thread_local! {
    /// Who called the checked function that is running; invalid while there is none.
    static CALLER: Cell<Oid> = const { Cell::new(Oid::INVALID) };
}

/// Puts back what a checked function has changed for its call, also when an error ends it.
struct Undo {
    call: FunctionCallInfo,
    outer: *mut FmgrInfo,
    caller: Oid,
}

impl Drop for Undo {
    fn drop(&mut self) {
        CALLER.set(self.caller);
        // SAFETY: the call outlives this.
        unsafe { (*self.call).flinfo = self.outer };
    }
}

/// Calls the namesake, in the same place: a set of rows goes where the caller wants it.
///
/// # Safety
/// The server must have filled the call in.
unsafe fn call_checked(call: FunctionCallInfo, right: Option<Right>) -> Result<Datum, Error> {
    // SAFETY: the server keeps the record of the function and the arguments until the call ends.
    unsafe {
        let outer = (*call).flinfo;
        let target = Target::of(outer)?;
        let caller = pg_sys::GetUserId();
        match (right, target.channel) {
            (None, _) => {}
            (Some(right), Some(place)) => {
                let argument = &(*call).args.as_slice((*call).nargs as usize)[place];
                check_argument(Text::from_datum(argument.value, argument.isnull), right)?;
            }
            (Some(right), None) => check_any(right)?,
        }
        let _undo = Undo { call, outer, caller: CALLER.replace(caller) };
        (*call).flinfo = &mut target.function;
        let address = target.function.fn_addr.expect("fmgr_info_cxt sets it");
        Ok(pg_sys::ffi::pg_guard_ffi_boundary(|| address(call)))
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
    let caller = Publisher::caller();
    let allowed = match Channel::named(channel.bytes()) {
        Ok(name) => policy::find(&name, |registered| registered.allows(caller.role, right))?,
        Err(_) => None,
    };
    match allowed {
        Some(true) => Ok(()),
        Some(false) => Err(deny(right, &Channel::of(channel.bytes()), caller)),
        // It must not be registered between here and the rest of the function.
        None => Err(raise(c"unknown_channel", &[text(channel.bytes())])),
    }
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
        #[pg_guard]
        unsafe extern "C-unwind" fn $name(call: FunctionCallInfo) -> Datum {
            // SAFETY: the server calls it.
            unsafe { call_checked(call, $right) }.unwrap_or_else(|error| error.raise())
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

/// The role that called the checked function, as a `regrole`.
#[pg_extern(sql = false)]
pub(crate) fn caller() -> Oid {
    match CALLER.get() {
        Oid::INVALID => Publisher::caller().role,
        caller => caller,
    }
}
