//! The worker of a database: rings the doorbells for all that committed since it last did.
//!
//! It holds no lock and no snapshot while it sleeps, and it sleeps until it is told of news. If a
//! round fails it tries again later and goes on to serve: were the transactions to ring instead,
//! what fails here would fail them.

mod database;
mod launcher;
mod obstacle;
mod process;
mod round;
mod view;

use std::ffi::{CStr, c_int};
use std::time::{Duration, Instant};

use pgrx::pg_sys::{Datum, GucContext, GucSource, Oid};
use pgrx::{pg_guard, pg_sys};

use crate::board::{self, Board};
use crate::news::News;
use crate::settings;

/// As `pg_stat_activity` has it.
const TYPE: &str = "notify_json doorbell";

/// Called once, when the library is loaded. Only at the start of a server there can be workers.
pub(crate) fn install() {
    // SAFETY: reads variables of this process.
    unsafe {
        if !pg_sys::process_shared_preload_libraries_in_progress || pg_sys::IsBinaryUpgrade {
            return;
        }
    }
    board::reserve();
    launcher::register();
}

/// Started by the launcher with the number of a board.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn notify_json_doorbell(index: Datum) {
    let Some(board) = board::all().get(index.value()) else { return };
    if !board.claim() {
        return;
    }
    // SAFETY: this process is a worker that has not connected yet; the strings are static.
    unsafe {
        pg_sys::before_shmem_exit(Some(leave), index);
        process::heed_signals();
        pg_sys::BackgroundWorkerInitializeConnectionByOid(board.database(), Oid::INVALID, 0);
    }
    set(c"application_name", c"notify_json");
    // A doorbell tells of what is durable already.
    set(c"synchronous_commit", c"off");
    board.tell(&News::ALL);
    serve(board);
}

/// Called when the process ends, however it does. This must not fail.
#[pg_guard]
unsafe extern "C-unwind" fn leave(_code: c_int, index: Datum) {
    if let Some(board) = board::all().get(index.value()) {
        board.leave();
    }
}

fn set(name: &CStr, value: &CStr) {
    let (context, source) = (GucContext::PGC_SUSET, GucSource::PGC_S_OVERRIDE);
    // SAFETY: the strings outlive the call, which copies them.
    unsafe { pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, source) };
}

/// Rings until the database is to have no worker, and all that was told until then is rung.
fn serve(board: &Board) {
    let mut pace = Pace { failures: 0, counted: Instant::now(), next: Instant::now() };
    loop {
        let is_wanted = board.serve();
        let limit = match (board.has_news(), is_wanted) {
            (true, _) => Some(pace.next.saturating_duration_since(Instant::now())),
            (false, true) => None,
            (false, false) => return,
        };
        process::sleep(limit, 0);
        if board.has_news() && Instant::now() >= pace.next {
            let news = board.take_news();
            let is_rung = round::run(&board.status, &news, pace.retry_in());
            if !is_rung && is_wanted {
                board.tell(&news);
            }
            pace.count(is_rung, board.take_told());
        }
    }
}

/// When the next round may begin.
struct Pace {
    failures: u32,
    /// When commits were last counted.
    counted: Instant,
    next: Instant,
}

impl Pace {
    /// After a round that fails.
    fn retry_in(&self) -> Duration {
        backoff(self.failures)
    }

    /// After a round, before which there were so many commits.
    fn count(&mut self, is_rung: bool, commits: u32) {
        let now = Instant::now();
        let pause = match is_rung {
            true => settings::doorbell_interval().mul_f64(stretch(commits, now - self.counted)),
            false => self.retry_in(),
        };
        self.counted = now;
        self.next = now + pause;
        self.failures = if is_rung { 0 } else { self.failures + 1 };
    }
}

/// How many intervals to wait: one up to 1,500 commits a second, and ten from 6,000 on. Every round
/// has each consumer read and acknowledge, which under load is better done for many events.
fn stretch(commits: u32, time: Duration) -> f64 {
    // A coarse clock may not have moved.
    let seconds = time.as_secs_f64().max(1e-6);
    let thousands_a_second = f64::from(commits) / 1_000.0 / seconds;
    (2.0 * thousands_a_second - 2.0).clamp(1.0, 10.0)
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(6))
}
