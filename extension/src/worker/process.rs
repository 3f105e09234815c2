//! What a background worker owes the server: it heeds signals, and never sleeps on them.

use std::ffi::c_int;
use std::time::Duration;

use pgrx::{check_for_interrupts, pg_sys};

unsafe extern "C-unwind" {
    /// `src/backend/postmaster/interrupt.c` and `src/backend/tcop/postgres.c`; what pgrx binds
    /// under these names is no signal handler.
    fn SignalHandlerForConfigReload(signal: c_int);
    fn die(signal: c_int);
}

/// Readies this process for signals.
pub(super) fn heed_signals() {
    handle(pg_sys::SIGHUP, SignalHandlerForConfigReload);
    // Not the default of workers, which ends the process wherever it is.
    handle(pg_sys::SIGTERM, die);
    // SAFETY: the handlers are in place.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() };
}

fn handle(signal: u32, handler: unsafe extern "C-unwind" fn(c_int)) {
    // SAFETY: the handlers are the server's own, made for this.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal as c_int, Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal as c_int, Some(handler));
    }
}

/// Sleeps until somebody sets the latch, at most for the time given, and does what the server
/// asks. The process may end here, with this exit code; outside of transactions only.
pub(super) fn sleep(limit: Option<Duration>, exit_code: c_int) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH;
    let (events, timeout) = match limit {
        Some(limit) => (events | pg_sys::WL_TIMEOUT, limit.as_micros().div_ceil(1_000)),
        None => (events, 0),
    };
    // SAFETY: the latch is this process's own; the variables are its as well.
    unsafe {
        let timeout = timeout.try_into().unwrap_or(0);
        let latch = pg_sys::MyLatch;
        pg_sys::WaitLatch(latch, events as c_int, timeout, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(latch);
        if pg_sys::ProcDiePending != 0 {
            pg_sys::proc_exit(exit_code);
        }
        // Nothing runs that could be cancelled.
        pg_sys::QueryCancelPending = 0;
        check_for_interrupts!();
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
        if pg_sys::catchupInterruptPending != 0 {
            pg_sys::ProcessCatchupInterrupt();
        }
    }
}
