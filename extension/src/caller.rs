//! Who called the checked functions that are running.
//!
//! Errors of their namesakes pass by without a stop, so that they keep their context. What is left of
//! a call then goes with its transaction, or with the savepoint that it was made in.

use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr::null_mut;

use pgrx::pg_sys::{Oid, SubTransactionId, SubXactEvent, XactEvent};
use pgrx::{pg_extern, pg_guard, pg_sys};

thread_local! {
    /// Each with the depth of its savepoint. The last is the innermost.
    static CALLERS: RefCell<Vec<(i32, Oid)>> = const { RefCell::new(Vec::new()) };
}

/// Called once, when the library is loaded.
pub(crate) fn watch() {
    // SAFETY: the callbacks are static.
    unsafe {
        pg_sys::RegisterSubXactCallback(Some(at_savepoint), null_mut());
        pg_sys::RegisterXactCallback(Some(at_end), null_mut());
    }
}

pub(crate) fn enter(caller: Oid) {
    CALLERS.with_borrow_mut(|callers| callers.push((depth(), caller)));
}

pub(crate) fn leave() {
    CALLERS.with_borrow_mut(Vec::pop);
}

/// Outside of any: the effective role.
#[pg_extern(sql = false)]
pub(crate) fn caller() -> Oid {
    let innermost = CALLERS.with_borrow(|callers| callers.last().map(|(_, caller)| *caller));
    // SAFETY: reads a variable of this backend.
    innermost.unwrap_or_else(|| unsafe { pg_sys::GetUserId() })
}

fn depth() -> i32 {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_savepoint(
    event: SubXactEvent::Type,
    _savepoint: SubTransactionId,
    _parent: SubTransactionId,
    _argument: *mut c_void,
) {
    if event == SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        CALLERS.with_borrow_mut(|callers| callers.retain(|(since, _)| *since < depth()));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_end(_event: XactEvent::Type, _argument: *mut c_void) {
    CALLERS.with_borrow_mut(Vec::clear);
}
