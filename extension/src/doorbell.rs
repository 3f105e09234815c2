//! The doorbell: a notification that there is news on a durable channel.
//!
//! It rings when a transaction that published there commits, once, and only if somebody attends.
//! A commit with notifications takes a lock of the whole cluster, so where a worker serves the
//! database the transaction only tells it after its commit, and the worker rings for many.

use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_void};

use notify_json_wire::Payload;
use pgrx::pg_sys::XactEvent;
use pgrx::{pg_guard, pg_sys};

use crate::attendance::is_attended;
use crate::board::{self, Board};
use crate::channel::Channel;
use crate::news::News;
use crate::{policy, queue};

thread_local! {
    /// Channels that the current transaction published on, sorted; perhaps undone by a savepoint.
    static NEWS: RefCell<Vec<Channel>> = const { RefCell::new(Vec::new()) };
    /// Where the transaction that is committing will tell its news.
    static BOARD: Cell<Option<&'static Board>> = const { Cell::new(None) };
    /// Channels that nobody attended, sorted, and what `policy::changes` was then.
    static QUIET: RefCell<(u64, Vec<Channel>)> = const { RefCell::new((0, Vec::new())) };
}

/// Called once, when the library is loaded.
pub(crate) fn watch() {
    // SAFETY: the callback is static.
    unsafe { pg_sys::RegisterXactCallback(Some(at_transaction_end), std::ptr::null_mut()) };
}

/// Rings when the transaction commits.
pub(crate) fn ring(channel: &Channel) {
    NEWS.with_borrow_mut(|news| {
        if let Err(place) = news.binary_search(channel) {
            news.insert(place, *channel);
        }
    });
}

/// Before the commit this may fail as any statement may, later it must not. What is prepared
/// rings nowhere: the server takes no notifications then.
#[pg_guard]
unsafe extern "C-unwind" fn at_transaction_end(event: XactEvent::Type, _argument: *mut c_void) {
    use XactEvent::{
        XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PREPARE,
    };
    match event {
        XACT_EVENT_PRE_COMMIT => NEWS.with_borrow(|news| {
            if !news.is_empty() {
                BOARD.set(board::served());
                if BOARD.get().is_none() {
                    ring_where_attended(news);
                }
            }
        }),
        XACT_EVENT_COMMIT => NEWS.with_borrow_mut(|news| {
            // By now others see the transaction's events. If its worker has ended since, another
            // one finds the news on the board.
            if let Some(board) = BOARD.take() {
                board.tell(&News::of(news));
            }
            news.clear();
        }),
        XACT_EVENT_ABORT | XACT_EVENT_PREPARE => {
            BOARD.set(None);
            NEWS.with_borrow_mut(Vec::clear);
        }
        _ => {}
    }
}

/// Has the doorbells of channels rung at this transaction's commit, and returns how many: of those
/// that somebody attends.
pub(crate) fn ring_where_attended(channels: &[Channel]) -> usize {
    QUIET.with_borrow_mut(|(changes, quiet)| {
        let now = policy::changes();
        if *changes != now {
            *changes = now;
            quiet.clear();
        }
        let doorbell = CString::new(Payload::Doorbell.to_string()).expect("it holds no NUL");
        let mut rung = 0;
        for channel in channels {
            let Err(place) = quiet.binary_search(channel) else {
                continue;
            };
            if is_attended(channel) {
                queue::add(channel.name(), &doorbell);
                rung += 1;
            } else {
                quiet.insert(place, *channel);
            }
        }
        rung
    })
}
