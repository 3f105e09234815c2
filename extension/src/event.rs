//! Events of durable channels: rows of `notify_json.event`, written past the executor, so that a
//! publisher needs no right on any table and pays for no plan.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::pg_sys::{Datum, Oid};

use crate::channel::Channel;
use crate::error::Error;

unsafe extern "C-unwind" {
    /// `src/backend/commands/sequence.c`; pgrx does not bind it.
    fn nextval_internal(sequence: Oid, check_permissions: bool) -> i64;
}

/// Leaves in the ring. One is being filled, eight hold what is kept, one is being emptied.
pub(crate) const LEAVES: usize = 10;

/// Where events are written.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    leaves: [Oid; LEAVES],
    sequence: Oid,
    /// For how long one leaf is filled, in microseconds.
    width: i64,
}

impl Log {
    pub(crate) fn find(schema: Oid) -> Result<Self, Error> {
        let find = |name: &CStr| {
            // SAFETY: the name is NUL-terminated and outlives the call.
            match unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) } {
                Oid::INVALID => Err(Error::Version { table: "notify_json.event" }),
                oid => Ok(oid),
            }
        };
        let mut leaves = [Oid::INVALID; LEAVES];
        for (slot, leaf) in leaves.iter_mut().enumerate() {
            let name = CString::new(format!("event_{slot}")).expect("it holds no NUL");
            *leaf = find(&name)?;
        }
        Ok(Self { leaves, sequence: find(c"event_id")?, width: 1 })
    }

    /// Sets for how long one leaf is filled, in microseconds.
    pub(crate) fn fill_for(&mut self, width: i64) {
        self.width = width.max(1);
    }

    /// Writes an event and returns its id; `None` if the table was dropped since it was found. The
    /// payload is JSON in the database's encoding, `channel_id` tells the channel from others of its
    /// name.
    pub(crate) fn append(
        &self,
        channel: &Channel,
        channel_id: i64,
        payload: &[u8],
    ) -> Result<Option<i64>, Error> {
        // SAFETY: reads variables of this backend.
        unsafe {
            if pg_sys::XactReadOnly {
                return Err(Error::ReadOnly);
            }
            if pg_sys::IsInParallelMode() {
                return Err(Error::ParallelOperation);
            }
        }
        // SAFETY: the relations are open until they are closed, or to the end of the transaction if
        // an error comes; the descriptor lives as long.
        unsafe {
            // Before the id is drawn: the windows of readers rely on it.
            let xid = pg_sys::GetTopFullTransactionId().value;
            let published_at = pg_sys::GetCurrentTimestamp();
            let slot = self.slot(published_at);
            let lock = pg_sys::RowExclusiveLock as i32;
            // DROP EXTENSION locks them in this order, too.
            let sequence = pg_sys::try_relation_open(self.sequence, lock);
            if sequence.is_null() {
                return Ok(None);
            }
            pg_sys::relation_close(sequence, pg_sys::NoLock as i32);
            let leaf = pg_sys::try_table_open(self.leaves[slot], lock);
            if leaf.is_null() {
                return Ok(None);
            }
            let descriptor = (*leaf).rd_att;
            if ![OLD_COLUMNS, COLUMNS].contains(&((*descriptor).natts as usize)) {
                return Err(Error::Version { table: "notify_json.event" });
            }
            let id = pg_sys::ffi::pg_guard_ffi_boundary(|| nextval_internal(self.sequence, false));
            let mut values = [
                Datum::from(id),
                Datum::from(xid),
                Datum::from(published_at),
                Datum::from(slot as i16),
                text(channel.bytes()),
                text(payload),
                Datum::from(channel_id),
            ];
            let mut nulls = [false; COLUMNS];
            let tuple =
                pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::CatalogTupleInsert(leaf, tuple);
            pg_sys::heap_freetuple(tuple);
            // The lock stays until the transaction ends, so that prune() does not empty the leaf.
            pg_sys::table_close(leaf, pg_sys::NoLock as i32);
            Ok(Some(id))
        }
    }

    /// The leaf for events of a time, counted in microseconds since 2000.
    fn slot(&self, time: i64) -> usize {
        const EPOCH: i64 = 946_684_800_000_000;
        ((time + EPOCH).div_euclid(self.width)).rem_euclid(LEAVES as i64) as usize
    }
}

/// `id`, `xid`, `published_at`, `slot`, `channel`, `payload`, `channel_id`; the last is new since 0.1.0.
const COLUMNS: usize = 7;
const OLD_COLUMNS: usize = 6;

/// # Safety
/// In a memory context that outlives the use.
unsafe fn text(bytes: &[u8]) -> Datum {
    let length = i32::try_from(bytes.len()).expect("a varlena is shorter than 1 GiB");
    // SAFETY: the bytes outlive the call, which copies them.
    Datum::from(unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), length) })
}
