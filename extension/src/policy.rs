//! Which channels are durable and which have a contract, as this backend knows it.
//!
//! All of `notify_json.channel` and `notify_json.contract` is read at once and kept until it
//! changes: their triggers invalidate the former's relation cache entry, of which every backend is
//! told. A transaction keeps the policy
//! that its first call found, unless it changes one itself.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ptr::null_mut;
use std::rc::Rc;

use pgrx::pg_sys::{Datum, Oid};
use pgrx::{FromDatum, pg_extern, pg_guard, pg_sys};

use crate::channel::Channel;
use crate::contract::Contract;
use crate::error::Error;
use crate::event::Log;

/// What holds for the events of a channel.
#[derive(Default)]
pub(crate) struct Policy {
    /// Where to log them; `None` on a live channel.
    pub(crate) log: Option<Log>,
    /// What they must meet.
    pub(crate) contract: Option<Rc<Contract>>,
}

struct Policies {
    durable: HashSet<Channel>,
    contracts: HashMap<Channel, Rc<Contract>>,
    log: Log,
}

thread_local! {
    /// `None`: to be read.
    static POLICIES: RefCell<Option<Policies>> = const { RefCell::new(None) };
    /// The contracts that were read last, to be kept where they are the same.
    static CONTRACTS: RefCell<HashMap<Channel, Rc<Contract>>> = RefCell::default();
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

/// What holds for this channel.
pub(crate) fn of(channel: &Channel) -> Result<Policy, Error> {
    refresh()?;
    Ok(POLICIES.with_borrow(|policies| {
        let Some(policies) = policies else { return Policy::default() };
        let log = policies.durable.contains(channel).then_some(policies.log);
        Policy { log, contract: policies.contracts.get(channel).cloned() }
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

/// The trigger on `notify_json.channel` and `notify_json.contract`.
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

/// Reads the tables, whatever role asks. `None` where there are none.
fn load() -> Result<Option<Policies>, Error> {
    let (schema, table) = table();
    // Where it is missing the next call looks again: nobody tells of a table to come.
    TABLE.set(table);
    let mut log = match table {
        Oid::INVALID => return Ok(None),
        _ => Log::find(schema)?,
    };
    // What changes from here on is to be read again.
    // SAFETY: in a transaction this may run anywhere.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    STALE.set(false);
    let mut durable = HashSet::new();
    let mut retention = 0;
    let is_there = scan(table, "notify_json.channel", |[name, is_durable, kept, _]: Row<4>| {
        // SAFETY: the columns are of these types, and not null.
        unsafe {
            if bool::from_datum(is_durable, false) == Some(true) {
                durable.extend(<&[u8]>::from_datum(name, false).map(Channel::of));
                retention = retention.max(microseconds(&*kept.cast_mut_ptr()));
            }
        }
    })?;
    if !is_there {
        STALE.set(true);
        return Ok(None);
    }
    log.fill_for(retention / 8);
    Ok(Some(Policies { durable, contracts: contracts(schema)?, log }))
}

/// The contracts, without compiling anew those that are as they were.
fn contracts(schema: Oid) -> Result<HashMap<Channel, Rc<Contract>>, Error> {
    // SAFETY: a static, NUL-terminated name.
    let table = unsafe { pg_sys::get_relname_relid(c"contract".as_ptr(), schema) };
    let known = CONTRACTS.take();
    let mut contracts = HashMap::new();
    // Before version 0.2.0 there is no such table.
    if table != Oid::INVALID {
        scan(table, "notify_json.contract", |[name, schema, _]: Row<3>| {
            // SAFETY: the first two columns are strings, and not null.
            let (name, schema) =
                unsafe { (<&[u8]>::from_datum(name, false), <&[u8]>::from_datum(schema, false)) };
            if let (Some(channel), Some(schema)) = (name.map(Channel::of), schema) {
                let same = known.get(&channel).filter(|contract| contract.is(schema));
                contracts.insert(
                    channel,
                    same.cloned().unwrap_or_else(|| Rc::new(Contract::new(schema))),
                );
            }
        })?;
    }
    CONTRACTS.set(contracts.clone());
    Ok(contracts)
}

/// The values of a row's columns, all of them.
type Row<const COLUMNS: usize> = [Datum; COLUMNS];

/// Hands over the rows of a table; `false` where there is no such table any more.
fn scan<const COLUMNS: usize>(
    table: Oid,
    name: &'static str,
    mut row: impl FnMut(Row<COLUMNS>),
) -> Result<bool, Error> {
    // SAFETY: the relation stays open to the end of the scan, or to that of the transaction if an
    // error comes. The tuples live until the next one is asked for. Without a snapshot
    // systable_beginscan takes a new one, at any level of isolation.
    unsafe {
        let relation = pg_sys::try_table_open(table, pg_sys::AccessShareLock as i32);
        if relation.is_null() {
            return Ok(false);
        }
        let descriptor = (*relation).rd_att;
        if (*descriptor).natts as usize != COLUMNS {
            return Err(Error::Version { table: name });
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
            row(values);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        Ok(true)
    }
}

/// As the server compares intervals: a month has 30 days.
fn microseconds(interval: &pg_sys::Interval) -> i64 {
    let days = i64::from(interval.month) * 30 + i64::from(interval.day);
    interval.time.saturating_add(days.saturating_mul(86_400_000_000))
}
