//! What positions need to know of the server.

use std::cell::Cell;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::{Spi, pg_extern, pg_sys};

/// The next xid to be assigned, with its epoch; SQL takes it as `xid8`.
#[pg_extern(sql = false)]
fn next_xid() -> i64 {
    // SAFETY: reads shared memory under its lock.
    unsafe { pg_sys::ReadNextFullTransactionId() }.value as i64
}

thread_local! {
    /// The same for the life of this process, which ends when the server restarts.
    static RUNNING_SINCE: Cell<Option<TimestampWithTimeZone>> = const { Cell::new(None) };
}

/// When the server started, or last recovered from the crash of a process. The postmaster survives
/// such a crash, the checkpointer does not.
#[pg_extern(sql = false)]
fn running_since() -> Result<Option<TimestampWithTimeZone>, pgrx::spi::Error> {
    if RUNNING_SINCE.get().is_none() {
        let sql = "SELECT backend_start FROM pg_catalog.pg_stat_activity
                   WHERE backend_type = 'checkpointer'";
        // Spi::get_one() would take an xid, which a standby has not.
        let started = Spi::connect(|client| client.select(sql, Some(1), &[])?.first().get_one());
        RUNNING_SINCE.set(started?);
    }
    Ok(RUNNING_SINCE.get())
}
