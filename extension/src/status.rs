//! What a doorbell worker says about itself, in shared memory.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicI32, AtomicI64};

use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys;

/// Counts since the worker started. Times are in microseconds since 2000; 0 is never.
#[derive(Default)]
pub(crate) struct Status {
    /// 0: there is no worker.
    pid: AtomicI32,
    started_at: AtomicI64,
    rounds: AtomicI64,
    doorbells: AtomicI64,
    failures: AtomicI64,
    last_round_at: AtomicI64,
}

impl Status {
    /// Makes this process the worker; `false` if another one is.
    pub(crate) fn claim(&self) -> bool {
        // SAFETY: reads a variable of this process.
        let pid = unsafe { pg_sys::MyProcPid };
        let is_free = self.pid.compare_exchange(0, pid, SeqCst, SeqCst).is_ok();
        if is_free {
            self.started_at.store(now(), Relaxed);
        }
        is_free
    }

    /// Forgets what the last worker did.
    pub(crate) fn reset(&self) {
        let counts = [&self.rounds, &self.doorbells, &self.failures];
        for number in counts.into_iter().chain([&self.started_at, &self.last_round_at]) {
            number.store(0, Relaxed);
        }
    }

    /// Makes it nobody.
    pub(crate) fn leave(&self) {
        self.pid.store(0, SeqCst);
    }

    pub(crate) fn count_round(&self, doorbells: usize) {
        self.rounds.fetch_add(1, Relaxed);
        self.doorbells.fetch_add(doorbells as i64, Relaxed);
        self.last_round_at.store(now(), Relaxed);
    }

    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        Some(self.pid.load(SeqCst)).filter(|pid| *pid != 0)
    }

    pub(crate) fn started_at(&self) -> Option<TimestampWithTimeZone> {
        time(&self.started_at)
    }

    pub(crate) fn rounds(&self) -> i64 {
        self.rounds.load(Relaxed)
    }

    pub(crate) fn doorbells(&self) -> i64 {
        self.doorbells.load(Relaxed)
    }

    pub(crate) fn failures(&self) -> i64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn last_round_at(&self) -> Option<TimestampWithTimeZone> {
        time(&self.last_round_at)
    }
}

fn now() -> i64 {
    // SAFETY: asks the system's clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

fn time(microseconds: &AtomicI64) -> Option<TimestampWithTimeZone> {
    let microseconds = microseconds.load(Relaxed);
    (microseconds != 0).then(|| microseconds.try_into().ok()).flatten()
}
