//! What windows need that SQL cannot tell.

use pgrx::{pg_extern, pg_sys};

/// The next xid to be assigned, with its epoch; SQL takes it as `xid8`.
#[pg_extern(sql = false)]
fn next_xid() -> i64 {
    // SAFETY: reads shared memory under its lock.
    unsafe { pg_sys::ReadNextFullTransactionId() }.value as i64
}
