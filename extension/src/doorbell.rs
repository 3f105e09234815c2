//! The doorbell: a notification that there is news on a durable channel.
//!
//! It rings when a transaction that published there commits, once, and only if somebody attends:
//! a commit with notifications takes a lock of the whole cluster. To attend is to hold an advisory
//! lock of our own kind for the session; who publishes tries for a mode that conflicts, and need
//! not try again until somebody announces to attend.

use std::cell::RefCell;
use std::ffi::{CString, c_void};

use notify_json_wire::Payload;
use pgrx::pg_sys::{LOCKTAG, LockTagType, XactEvent};
use pgrx::{pg_extern, pg_guard, pg_sys};

use crate::argument::Text;
use crate::channel::Channel;
use crate::{policy, queue};

unsafe extern "C-unwind" {
    /// `src/common/hashfn.c`; pgrx does not bind it.
    fn hash_bytes_extended(bytes: *const u8, length: i32, seed: u64) -> u64;
}

/// `locktag_field4`, in which `pg_advisory_lock` has 1 or 2.
const KIND: u16 = 0x6e6a;
const ATTENDING: i32 = pg_sys::ShareLock as i32;
const PUBLISHING: i32 = pg_sys::RowExclusiveLock as i32;

thread_local! {
    /// Channels that the current transaction published on, sorted; perhaps undone by a savepoint.
    static NEWS: RefCell<Vec<Channel>> = const { RefCell::new(Vec::new()) };
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
                QUIET.with_borrow_mut(|quiet| ring_where_attended(news, quiet));
            }
        }),
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE => {
            NEWS.with_borrow_mut(Vec::clear);
        }
        _ => {}
    }
}

fn ring_where_attended(news: &[Channel], (changes, quiet): &mut (u64, Vec<Channel>)) {
    let now = policy::changes();
    if *changes != now {
        *changes = now;
        quiet.clear();
    }
    for channel in news {
        let Err(place) = quiet.binary_search(channel) else {
            continue;
        };
        if is_attended(channel) {
            let doorbell = CString::new(Payload::Doorbell.to_string());
            queue::add(channel.name(), &doorbell.expect("it holds no NUL"));
        } else {
            quiet.insert(place, *channel);
        }
    }
}

#[pg_extern(sql = false)]
fn attend(channel: Option<Text<'_>>) {
    let tag = checked_tag(channel);
    if !attends(&tag) {
        // SAFETY: the tag outlives the call.
        unsafe { pg_sys::LockAcquire(&tag, ATTENDING, true, false) };
        policy::announce();
    }
}

#[pg_extern(sql = false)]
fn leave(channel: Option<Text<'_>>) {
    let tag = checked_tag(channel);
    if attends(&tag) {
        // SAFETY: the tag outlives the call.
        unsafe { pg_sys::LockRelease(&tag, ATTENDING, true) };
    }
}

/// Whether any session attends.
fn is_attended(channel: &Channel) -> bool {
    let tag = tag(channel);
    // A session's own locks never conflict.
    if attends(&tag) {
        return true;
    }
    // SAFETY: the tag outlives the calls.
    unsafe {
        let unavailable = pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL;
        let attended = pg_sys::LockAcquire(&tag, PUBLISHING, false, true) == unavailable;
        if !attended {
            pg_sys::LockRelease(&tag, PUBLISHING, false);
        }
        attended
    }
}

/// Whether this session does.
fn attends(tag: &LOCKTAG) -> bool {
    // SAFETY: the tag outlives the call, which reads a table of this backend.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        return pg_sys::LockHeldByMe(tag, ATTENDING);
        #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
        return pg_sys::LockHeldByMe(tag, ATTENDING, false);
    }
}

fn checked_tag(channel: Option<Text<'_>>) -> LOCKTAG {
    match Channel::new(channel) {
        Ok(channel) => tag(&channel),
        Err(error) => error.raise(),
    }
}

/// Two channels with one hash only cost needless doorbells.
fn tag(channel: &Channel) -> LOCKTAG {
    let name = channel.bytes();
    // SAFETY: the bytes outlive the call, which copies nothing; a name has at most 63.
    let hash = unsafe { hash_bytes_extended(name.as_ptr(), name.len() as i32, 0) };
    LOCKTAG {
        // SAFETY: reads a variable of this backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: (hash >> 32) as u32,
        locktag_field3: hash as u32,
        locktag_field4: KIND,
        locktag_type: LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}
