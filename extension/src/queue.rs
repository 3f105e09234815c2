//! The transaction's list of pending notifications.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    /// `src/backend/commands/async.c`; pgrx does not bind it.
    fn Async_Notify(channel: *const c_char, payload: *const c_char);
}

/// Adds a notification that the server sends when the transaction commits. Both strings are in
/// the database's encoding. The server raises an error for a channel that is empty or longer than
/// 63 bytes, a payload longer than 7,999, and in a parallel worker.
pub(crate) fn add(channel: &CStr, payload: &CStr) {
    let (channel, payload) = (channel.as_ptr(), payload.as_ptr());
    // SAFETY: both are NUL-terminated and outlive the call, which copies them; no value with a
    // destructor lives inside the guarded closure.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(channel, payload)) }
}
