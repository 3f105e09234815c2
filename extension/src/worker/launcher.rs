//! The launcher: starts a worker for every database that is to have one.
//!
//! It alone reads `notify_json.databases`. It wakes when that changes, when a worker ends, and when
//! there is news that no worker will ring for: then it starts one for a last round.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::ptr::null;
use std::time::{Duration, Instant};

use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys::Datum;
use pgrx::{pg_guard, pg_sys};

use super::database::{self, Database};
use super::obstacle::Obstacle;
use super::{TYPE, backoff, process};
use crate::board::{self, BOARDS, Board};
use crate::settings;

/// Called once, when the server loads the library at its start.
pub(super) fn register() {
    BackgroundWorkerBuilder::new("notify_json launcher")
        .set_library("notify_json")
        .set_function("notify_json_launcher")
        .enable_spi_access()
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// Started by the server.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn notify_json_launcher(_argument: Datum) {
    process::heed_signals();
    // SAFETY: this process is a worker that has not connected yet. It connects to no database.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnection(null(), null(), 0);
        board::launched_by(pg_sys::MyLatch);
    }
    let mut launcher = Launcher {
        starts: [Attempts::default(); BOARDS],
        looks: Attempts::default(),
        complaints: HashMap::new(),
    };
    loop {
        let limit = launcher.look();
        // With 0 the server would not start it again.
        process::sleep(limit, 1);
    }
}

struct Launcher {
    starts: [Attempts; BOARDS],
    /// For databases that may come.
    looks: Attempts,
    /// What was logged already.
    complaints: HashMap<CString, Obstacle>,
}

impl Launcher {
    /// Starts what is to be started, and returns when to look again if nothing happens before.
    fn look(&mut self) -> Option<Duration> {
        let databases = database::all();
        let names = settings::databases();
        forget_dropped(&databases);
        self.complaints.retain(|name, _| names.contains(name));
        let mut wanted = Vec::with_capacity(names.len());
        for name in &names {
            match find(&databases, name) {
                Ok(board) => wanted.push(board.database()),
                Err(obstacle) => self.complain(name, obstacle),
            }
        }
        let mut look_in = self.look_for_missing(wanted.len() < names.len());
        for board in board::all() {
            board.want(wanted.contains(&board.database()));
            let is_needed = board.is_wanted() || board.has_news();
            let database = databases.iter().find(|database| database.oid == board.database());
            if let Some(database) = database.filter(|database| is_needed && database.is_open) {
                look_in = earlier(look_in, self.start(board, database));
            }
        }
        look_in
    }

    fn look_for_missing(&mut self, any: bool) -> Option<Duration> {
        if !any {
            self.looks = Attempts::default();
            return None;
        }
        if self.looks.left().is_none() {
            self.looks.count();
        }
        self.looks.left()
    }

    /// Starts a worker where there is none, unless it is too early to try again. Returns when to
    /// see whether there is one.
    fn start(&mut self, board: &Board, database: &Database) -> Option<Duration> {
        if board.status.pid().is_some() {
            self.complaints.remove(&database.name);
            return None;
        }
        let attempts = &mut self.starts[board.index];
        if board.status.rounds() > 0 {
            attempts.forgive();
        }
        if attempts.left().is_none() {
            attempts.count();
            board.status.reset();
            if !database.is_locked() && !launch(board, database) {
                self.complain(&database.name, Obstacle::NoProcess);
            }
        }
        self.starts[board.index].left()
    }

    /// Logs it, once.
    fn complain(&mut self, name: &CStr, obstacle: Obstacle) {
        if self.complaints.insert(name.to_owned(), obstacle) != Some(obstacle) {
            obstacle.report(&name.to_string_lossy());
        }
    }
}

fn forget_dropped(databases: &[Database]) {
    for board in board::all() {
        let exists = databases.iter().any(|database| database.oid == board.database());
        if !exists && board.status.pid().is_none() {
            board.forget();
        }
    }
}

fn find(databases: &[Database], name: &CStr) -> Result<&'static Board, Obstacle> {
    let database = databases.iter().find(|database| *database.name == *name);
    let database = database.ok_or(Obstacle::Missing)?;
    if !database.is_open {
        return Err(Obstacle::Closed);
    }
    board::of(database.oid).ok_or(Obstacle::TooMany)
}

/// `false` if the server has no process left for it.
fn launch(board: &Board, database: &Database) -> bool {
    BackgroundWorkerBuilder::new(&format!("{TYPE} for {}", database.name.to_string_lossy()))
        .set_type(TYPE)
        .set_library("notify_json")
        .set_function("notify_json_doorbell")
        .set_argument(Some(Datum::from(board.index)))
        .enable_spi_access()
        .load_dynamic()
        .is_ok()
}

fn earlier(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// Attempts at one thing, further and further apart.
#[derive(Clone, Copy, Default)]
struct Attempts {
    count: u32,
    last: Option<Instant>,
}

impl Attempts {
    fn count(&mut self) {
        self.count += 1;
        self.last = Some(Instant::now());
    }

    /// The last one was no failure after all.
    fn forgive(&mut self) {
        self.count = self.count.min(1);
    }

    /// How long until the next one; `None` if it is due.
    fn left(&self) -> Option<Duration> {
        let next = self.last? + backoff(self.count - 1);
        Some(next.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }
}
