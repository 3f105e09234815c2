//! Which channels are durable, as this backend knows it.
//!
//! All of `notify_json.channel` is read at once and kept until it changes: its trigger invalidates
//! the table's relation cache entry, of which every backend is told. A transaction keeps the policy
//! that its first call found, unless it changes one itself.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ptr::null_mut;

use pgrx::pg_sys::{Datum, Oid};
use pgrx::{FromDatum, pg_extern, pg_guard, pg_sys};

use crate::channel::Channel;
use crate::error::Error;
use crate::event::Log;

struct Policies {
    durable: HashSet<Channel>,
    log: Log,
}

thread_local! {
    /// `None`: to be read.
    static POLICIES: RefCell<Option<Policies>> = const { RefCell::new(None) };
    /// Whether the table has changed since it was read.
    static STALE: Cell<bool> = const { Cell::new(true) };
    /// The table that was read; invalid where there is none.
    static TABLE: Cell<Oid> = const { Cell::new(Oid::INVALID) };
    /// How often that or attendance has changed.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    /// The transaction that has settled for the policies kept, and the last one that changed some.
    static SETTLED: Cell<u32> = const { Cell::new(0) };
    static CHANGED: Cell<u32> = const { Cell::new(0) };
}

/// Called once, when the library is loaded.
pub(crate) fn watch() {
    // SAFETY: the callback is static.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(invalidated), Datum::from(0)) };
}

/// Where to log events of this channel; `None` if it is live.
pub(crate) fn log_of(channel: &Channel) -> Result<Option<Log>, Error> {
    refresh()?;
    Ok(POLICIES.with_borrow(|policies| {
        let policies = policies.as_ref()?;
        policies.durable.contains(channel).then_some(policies.log)
    }))
}

/// The durable channels that meet a condition.
pub(crate) fn durable(condition: impl Fn(&Channel) -> bool) -> Result<Vec<Channel>, Error> {
    refresh()?;
    Ok(POLICIES.with_borrow(|policies| {
        let durable = policies.iter().flat_map(|policies| &policies.durable);
        durable.filter(|channel| condition(channel)).copied().collect()
    }))
}

/// Reads the policies if they are to be read, once for a transaction that changes none.
fn refresh() -> Result<(), Error> {
    let transaction = transaction();
    let changed = CHANGED.get();
    if SETTLED.get() != transaction {
        // SAFETY: in a transaction this may run anywhere.
        unsafe { pg_sys::AcceptInvalidationMessages() };
        // Whether the one that changed policies has kept them does not matter here.
        if STALE.get() || changed == SETTLED.get() {
            forget();
        }
    } else if STALE.get() && changed == transaction {
        forget();
    }
    if POLICIES.with_borrow(Option::is_none) {
        let policies = load()?;
        POLICIES.set(policies);
    }
    SETTLED.set(transaction);
    Ok(())
}

/// Has everything read again at the next call.
pub(crate) fn forget() {
    POLICIES.set(None);
}

/// A number that grows when a session may have begun to attend a channel.
pub(crate) fn changes() -> u64 {
    // SAFETY: in a transaction this may run anywhere.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    CHANGES.get()
}

/// Makes [`changes`] grow in every session, at once, whatever becomes of the transaction.
pub(crate) fn announce() {
    let (_, table) = table();
    if table == Oid::INVALID {
        return;
    }
    let mut message = pg_sys::SharedInvalidationMessage::default();
    message.rc = pg_sys::SharedInvalRelcacheMsg {
        id: pg_sys::SHAREDINVALRELCACHE_ID as i8,
        // SAFETY: reads a variable of this backend.
        dbId: unsafe { pg_sys::MyDatabaseId },
        relId: table,
    };
    // SAFETY: the message outlives the call.
    unsafe { pg_sys::SendSharedInvalidMessages(&message, 1) };
}

/// The trigger on `notify_json.channel`.
#[pg_extern(sql = false)]
fn channel_changed() {
    CHANGED.set(transaction());
    STALE.set(true);
    let (_, table) = table();
    if table != Oid::INVALID {
        // SAFETY: it is a table.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(table) };
    }
}

/// Told of changed relations, at any moment, so it must not fail. An invalid oid means all.
#[pg_guard]
unsafe extern "C-unwind" fn invalidated(_argument: Datum, relation: Oid) {
    if relation == TABLE.get() || relation == Oid::INVALID {
        STALE.set(true);
        CHANGES.set(CHANGES.get() + 1);
    }
}

/// A number that no other transaction of this backend has.
pub(crate) fn transaction() -> u32 {
    // SAFETY: every backend that runs a function has a PGPROC of its own.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        return (*pg_sys::MyProc).lxid;
        #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
        return (*pg_sys::MyProc).vxid.lxid;
    }
}

/// The schema of the extension and its table of channels.
fn table() -> (Oid, Oid) {
    // SAFETY: static, NUL-terminated names.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"notify_json".as_ptr(), true);
        (schema, pg_sys::get_relname_relid(c"channel".as_ptr(), schema))
    }
}

/// Reads the table, whatever role asks. `None` where there is none.
fn load() -> Result<Option<Policies>, Error> {
    let (schema, table) = table();
    // Where it is missing the next call looks again: nobody tells of a table to come.
    TABLE.set(table);
    if table == Oid::INVALID {
        return Ok(None);
    }
    // SAFETY: the relation stays open to the end of the scan, or to that of the transaction if an
    // error comes.
    unsafe {
        let relation = pg_sys::try_table_open(table, pg_sys::AccessShareLock as i32);
        if relation.is_null() {
            return Ok(None);
        }
        STALE.set(false);
        let policies = scan(relation, Log::find(schema)?);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        policies.map(Some)
    }
}

/// # Safety
/// `relation` must be open.
unsafe fn scan(relation: pg_sys::Relation, mut log: Log) -> Result<Policies, Error> {
    let mut durable = HashSet::new();
    let mut retention = 0;
    // SAFETY: the tuples live until the next one is asked for. Without a snapshot
    // systable_beginscan takes a new one, at any level of isolation.
    unsafe {
        let descriptor = (*relation).rd_att;
        if (*descriptor).natts as usize != COLUMNS {
            return Err(Error::Version { table: "notify_json.channel" });
        }
        let scan =
            pg_sys::systable_beginscan(relation, Oid::INVALID, false, null_mut(), 0, null_mut());
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let (mut values, mut nulls) = ([Datum::from(0); COLUMNS], [false; COLUMNS]);
            pg_sys::heap_deform_tuple(tuple, descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            let [name, is_durable, kept, _] = values;
            if bool::from_datum(is_durable, false) == Some(true) {
                durable.extend(<&[u8]>::from_datum(name, false).map(Channel::of));
                retention = retention.max(microseconds(&*kept.cast_mut_ptr()));
            }
        }
        pg_sys::systable_endscan(scan);
    }
    log.fill_for(retention / 8);
    Ok(Policies { durable, log })
}

/// `name`, `durable`, `retention`, `created_at`.
const COLUMNS: usize = 4;

/// As the server compares intervals: a month has 30 days.
fn microseconds(interval: &pg_sys::Interval) -> i64 {
    let days = i64::from(interval.month) * 30 + i64::from(interval.day);
    interval.time.saturating_add(days.saturating_mul(86_400_000_000))
}
