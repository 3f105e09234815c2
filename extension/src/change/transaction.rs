//! What the events of a transaction have in common, and how much of them waits for its commit.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};

use pgrx::pg_sys::{Datum, SubTransactionId, SubXactEvent};
use pgrx::{pg_guard, pg_sys};

use super::value::integer;
use crate::error::Error;
use crate::{policy, settings};

#[derive(Clone, Copy, Default)]
struct Progress {
    /// The transaction that this is about, by [`policy::transaction`].
    transaction: u32,
    /// Events so far. Those of a savepoint that was rolled back keep their numbers.
    events: i64,
    /// Bytes of memory that its events on live channels take until it commits.
    waiting_bytes: usize,
}

thread_local! {
    static PROGRESS: Cell<Progress> = const { Cell::new(Progress {
        transaction: 0,
        events: 0,
        waiting_bytes: 0,
    }) };
    /// `waiting_bytes` when each open savepoint began.
    static SAVEPOINTS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// The end of an event's text, and the transaction that it is of.
    static STAMP: RefCell<(u32, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
}

/// What PostgreSQL keeps for a pending notification beside its text, about.
const OVERHEAD_BYTES: usize = 100;

/// Called once, when the library is loaded.
pub(super) fn watch() {
    // SAFETY: the callback is static. A transaction is at level 1, its savepoints above it.
    let level = unsafe {
        pg_sys::RegisterSubXactCallback(Some(at_savepoint), std::ptr::null_mut());
        pg_sys::GetCurrentTransactionNestLevel()
    };
    // Savepoints from before the first event of a session, which is what the library is loaded for.
    SAVEPOINTS.set(vec![0; usize::try_from(level - 1).unwrap_or(0)]);
}

fn progress() -> Progress {
    let (kept, transaction) = (PROGRESS.get(), policy::transaction());
    if kept.transaction == transaction {
        kept
    } else {
        Progress { transaction, ..Progress::default() }
    }
}

/// Ends the text of an event: whose it is, its number there, and when.
///
/// The number tells equal changes of a transaction apart, of which NOTIFY would send one.
pub(super) fn stamp(json: &mut Vec<u8>) {
    let mut progress = progress();
    progress.events += 1;
    PROGRESS.set(progress);
    STAMP.with_borrow_mut(|(transaction, text)| {
        json.extend_from_slice(b",\"seq\":");
        integer(json, progress.events);
        if *transaction != progress.transaction {
            // SAFETY: the change has given the transaction an xid already.
            let xid = unsafe { pg_sys::GetTopFullTransactionId() }.value;
            text.clear();
            text.extend_from_slice(b",\"xid\":");
            integer(text, xid as i64);
            text.extend_from_slice(b",\"at\":\"");
            text.extend_from_slice(&start());
            text.extend_from_slice(b"\"}");
            *transaction = progress.transaction;
        }
        json.extend_from_slice(text);
    });
}

/// When the transaction began, in UTC.
fn start() -> Vec<u8> {
    let mut buffer = [0 as c_char; pg_sys::MAXDATELEN as usize + 1];
    // SAFETY: the buffer has the size that the server demands.
    let text = unsafe {
        let start = Datum::from(pg_sys::GetCurrentTransactionStartTimestamp());
        let utc = 0;
        pg_sys::JsonEncodeDateTime(buffer.as_mut_ptr(), start, pg_sys::TIMESTAMPTZOID, &utc);
        CStr::from_ptr(buffer.as_ptr()).to_bytes()
    };
    let mut start = text.strip_suffix(b"+00:00").expect("it is in UTC").to_vec();
    start.push(b'Z');
    start
}

/// Counts an event that waits in memory for the commit.
pub(super) fn count(bytes: usize) -> Result<(), Error> {
    let mut progress = progress();
    progress.waiting_bytes += bytes + OVERHEAD_BYTES;
    PROGRESS.set(progress);
    let limit = settings::max_transaction_bytes();
    if progress.waiting_bytes > limit {
        return Err(Error::TooManyChanges { events: progress.events, limit });
    }
    Ok(())
}

/// What a savepoint has sent is taken back with it.
#[pg_guard]
unsafe extern "C-unwind" fn at_savepoint(
    event: SubXactEvent::Type,
    _savepoint: SubTransactionId,
    _parent: SubTransactionId,
    _argument: *mut c_void,
) {
    use SubXactEvent::{
        SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB, SUBXACT_EVENT_START_SUB,
    };
    SAVEPOINTS.with_borrow_mut(|savepoints| match event {
        SUBXACT_EVENT_START_SUB => savepoints.push(progress().waiting_bytes),
        SUBXACT_EVENT_COMMIT_SUB => drop(savepoints.pop()),
        SUBXACT_EVENT_ABORT_SUB => {
            if let Some(waiting_bytes) = savepoints.pop() {
                PROGRESS.set(Progress { waiting_bytes, ..progress() });
            }
        }
        _ => {}
    });
}
