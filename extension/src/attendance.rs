//! Who attends a channel, and so is to hear its doorbell.
//!
//! To attend is to hold an advisory lock of our own kind for the session. Whoever asks tries for a
//! mode that conflicts, and need not try again until somebody announces to attend.

use pgrx::pg_sys::{LOCKTAG, LockTagType};
use pgrx::{pg_extern, pg_sys};

use crate::argument::Text;
use crate::channel::Channel;
use crate::permission::{self, Publisher, Right};
use crate::policy;

/// `locktag_field4`, in which `pg_advisory_lock` has 1 or 2.
const KIND: u16 = 0x6e6a;
const ATTENDING: i32 = pg_sys::ShareLock as i32;
const ASKING: i32 = pg_sys::RowExclusiveLock as i32;

#[pg_extern(sql = false)]
fn attend(channel: Option<Text<'_>>) {
    let channel = checked(channel);
    let allowed = permission::check(&channel, Right::Consume, Publisher::caller());
    allowed.unwrap_or_else(|error| error.raise());
    let tag = tag(&channel);
    if !attends(&tag) {
        // SAFETY: the tag outlives the call.
        unsafe { pg_sys::LockAcquire(&tag, ATTENDING, true, false) };
        policy::announce();
    }
}

#[pg_extern(sql = false)]
fn leave(channel: Option<Text<'_>>) {
    let tag = tag(&checked(channel));
    if attends(&tag) {
        // SAFETY: the tag outlives the call.
        unsafe { pg_sys::LockRelease(&tag, ATTENDING, true) };
    }
}

/// Whether any session attends.
pub(crate) fn is_attended(channel: &Channel) -> bool {
    let tag = tag(channel);
    // A session's own locks never conflict.
    if attends(&tag) {
        return true;
    }
    // SAFETY: the tag outlives the calls.
    unsafe {
        let unavailable = pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL;
        let attended = pg_sys::LockAcquire(&tag, ASKING, false, true) == unavailable;
        if !attended {
            pg_sys::LockRelease(&tag, ASKING, false);
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

fn checked(channel: Option<Text<'_>>) -> Channel {
    Channel::new(channel).unwrap_or_else(|error| error.raise())
}

/// Two channels with one hash only cost needless doorbells.
fn tag(channel: &Channel) -> LOCKTAG {
    let hash = channel.hash();
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
