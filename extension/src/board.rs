//! What publishers tell the doorbell workers: a board a database, in shared memory.
//!
//! Publishers write to it after their commit, when nothing may fail any more: no locks, no
//! allocations, nothing that could be missing. A board stays with its database for as long as that
//! exists, so that whoever has chosen one before its commit still finds it after. All orders are
//! `SeqCst`: each side writes its own flag and then reads the other's, and one of them must see.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

use pgrx::pg_sys;
use pgrx::pg_sys::{Latch, Oid};
use pgrx::{PGRXSharedMemory, PgAtomic, pg_guard, pg_shmem_init};

use crate::news::{News, WORDS};
use crate::status::Status;

/// Databases that can have a worker until the server restarts.
pub(crate) const BOARDS: usize = 64;

/// The board of one database.
#[repr(align(64))]
pub(crate) struct Board {
    /// Its place among all.
    pub(crate) index: usize,
    /// 0: free.
    database: AtomicU32,
    /// Whether the database is to have a worker, as the launcher has it.
    is_wanted: AtomicBool,
    /// Whether a worker promises to ring.
    is_served: AtomicBool,
    /// Whether the worker, or if there is none the launcher, was woken since it last looked.
    has_news: AtomicBool,
    news: [AtomicU64; WORDS],
    /// How often it was told since that was last counted.
    told: AtomicU32,
    /// The worker's. It lies in shared memory and outlives it: to wake somebody else is harmless.
    latch: AtomicPtr<Latch>,
    pub(crate) status: Status,
}

struct Shared {
    launcher: AtomicPtr<Latch>,
    /// Boards from here on were never used.
    used: AtomicUsize,
    boards: [Board; BOARDS],
}

// SAFETY: what changes is atomic, and what is pointed to is shared memory, too, which is at the same
// address in every process.
unsafe impl PGRXSharedMemory for Shared {}

// SAFETY: nothing else has this name.
static SHARED: PgAtomic<Shared> = unsafe { PgAtomic::new(c"notify_json") };

/// Whether this server has the shared memory, that is, was started with the library.
static IS_PRELOADED: AtomicBool = AtomicBool::new(false);

/// Called once, when the server loads the library at its start.
#[allow(unexpected_cfgs, reason = "the macro asks for servers that this crate does not know")]
pub(crate) fn reserve() {
    pg_shmem_init!(SHARED);
    IS_PRELOADED.store(true, Relaxed);
}

fn shared() -> Option<&'static Shared> {
    IS_PRELOADED.load(Relaxed).then(|| SHARED.get())
}

/// All boards that were ever used; none in a server that has not preloaded the library.
pub(crate) fn all() -> &'static [Board] {
    shared().map_or(&[], |shared| &shared.boards[..shared.used.load(SeqCst)])
}

/// The board of this database, if a worker promises to ring.
pub(crate) fn served() -> Option<&'static Board> {
    // SAFETY: reads a variable of this backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    let board = all().iter().find(|board| board.database() == database)?;
    board.is_served.load(SeqCst).then_some(board)
}

/// Finds a database its board; `None` if all are taken. For the launcher.
pub(crate) fn of(database: Oid) -> Option<&'static Board> {
    let shared = shared()?;
    let holds = |oid: Oid| move |board: &&Board| board.database() == oid;
    if let Some(board) = all().iter().find(holds(database)) {
        return Some(board);
    }
    let board = shared.boards.iter().find(holds(Oid::INVALID))?;
    let _ = board.take_news();
    board.database.store(database.to_u32(), SeqCst);
    shared.used.fetch_max(board.index + 1, SeqCst);
    Some(board)
}

/// Says whose latch to set where no worker rings. For the launcher.
pub(crate) fn launched_by(latch: *mut Latch) {
    if let Some(shared) = shared() {
        shared.launcher.store(latch, SeqCst);
    }
}

fn wake_launcher() {
    if let Some(shared) = shared() {
        wake(&shared.launcher);
    }
}

fn wake(latch: &AtomicPtr<Latch>) {
    let latch = latch.load(SeqCst);
    if !latch.is_null() {
        // SAFETY: a latch of a PGPROC, which are there for as long as the server runs.
        unsafe { pg_sys::SetLatch(latch) };
    }
}

impl Board {
    /// The database, or an invalid oid.
    pub(crate) fn database(&self) -> Oid {
        Oid::from(self.database.load(SeqCst))
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(SeqCst)
    }

    pub(crate) fn is_served(&self) -> bool {
        self.is_served.load(SeqCst)
    }

    pub(crate) fn has_news(&self) -> bool {
        self.has_news.load(SeqCst)
    }

    /// Says that there is news. This must not fail.
    pub(crate) fn tell(&self, news: &News) {
        for (word, bits) in self.news.iter().zip(news.0) {
            if bits != 0 {
                word.fetch_or(bits, SeqCst);
            }
        }
        self.told.fetch_add(1, Relaxed);
        self.wake_for_news();
    }

    fn wake_for_news(&self) {
        if !self.has_news.swap(true, SeqCst) {
            match self.is_served() {
                true => wake(&self.latch),
                false => wake_launcher(),
            }
        }
    }

    /// What was told since it was last taken.
    pub(crate) fn take_news(&self) -> News {
        // First, so that whoever tells more from here on wakes again.
        self.has_news.store(false, SeqCst);
        News(std::array::from_fn(|word| self.news[word].swap(0, SeqCst)))
    }

    /// How often it was told since the last call.
    pub(crate) fn take_told(&self) -> u32 {
        self.told.swap(0, Relaxed)
    }

    /// Has the database served, or served no more. For the launcher.
    pub(crate) fn want(&self, wanted: bool) {
        if self.is_wanted.swap(wanted, SeqCst) != wanted {
            wake(&self.latch);
        }
    }

    /// Forgets a database that is no more. For the launcher.
    pub(crate) fn forget(&self) {
        self.want(false);
        self.database.store(0, SeqCst);
    }

    /// Makes this process its worker; `false` if another one is. For workers.
    pub(crate) fn claim(&self) -> bool {
        let is_free = self.status.claim();
        if is_free {
            // SAFETY: reads a variable of this process.
            self.latch.store(unsafe { pg_sys::MyLatch }, SeqCst);
        }
        is_free
    }

    /// Promises to ring for as long as the database is to be served, which it returns. For workers.
    pub(crate) fn serve(&self) -> bool {
        let is_wanted = self.is_wanted();
        self.is_served.store(is_wanted, SeqCst);
        is_wanted
    }

    /// The worker is no more; what it was told meanwhile is for the launcher. This must not fail.
    pub(crate) fn leave(&self) {
        self.is_served.store(false, SeqCst);
        self.status.leave();
        wake_launcher();
    }
}

impl Default for Shared {
    fn default() -> Self {
        let board = |index| Board {
            index,
            database: AtomicU32::new(0),
            is_wanted: AtomicBool::new(false),
            is_served: AtomicBool::new(false),
            has_news: AtomicBool::new(false),
            news: [const { AtomicU64::new(0) }; WORDS],
            told: AtomicU32::new(0),
            latch: AtomicPtr::default(),
            status: Status::default(),
        };
        Self {
            launcher: AtomicPtr::default(),
            used: AtomicUsize::new(0),
            boards: std::array::from_fn(board),
        }
    }
}
