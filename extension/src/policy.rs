//! What the registry says of a channel, as this backend knows it.
//!
//! All of its tables is read at once and kept until they change: their triggers invalidate the
//! relation cache entry of `notify_json.channel`, of which every backend is told. Publishing, a
//! transaction keeps the policies that its first call found, unless it changes one itself; rights it
//! does not keep.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pgrx::pg_sys::{Datum, Oid};
use pgrx::{pg_extern, pg_guard, pg_sys};

use crate::channel::Channel;
use crate::contract::Contract;
use crate::error::Error;
use crate::event::Log;
use crate::permission::{self, Publisher, Right};
use crate::registry::{Registered, Registry, table};

/// The registry, and the transaction that read it or has settled for it.
type Known = (u32, Rc<Registry>);

thread_local! {
    /// As last read, and as the current transaction has it. `None`: to be read.
    static LATEST: RefCell<Option<Known>> = const { RefCell::new(None) };
    static SETTLED: RefCell<Option<Known>> = const { RefCell::new(None) };
    /// Whether a table has changed since it was read.
    static STALE: Cell<bool> = const { Cell::new(true) };
    /// The table that was read; invalid where there is none.
    static TABLE: Cell<Oid> = const { Cell::new(Oid::INVALID) };
    /// How often that or attendance has changed.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    /// The last transaction that changed some.
    static CHANGED: Cell<u32> = const { Cell::new(0) };
}

/// Called once, when the library is loaded.
pub(crate) fn watch() {
    // SAFETY: the callback is static.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(invalidated), Datum::from(0)) };
}

/// What holds for the events of a channel.
#[derive(Default)]
pub(crate) struct Policy {
    /// Where to log them, and as those of which channel; `None` on a live one.
    pub(crate) log: Option<(Log, i64)>,
    /// What they must meet.
    pub(crate) contract: Option<Rc<Contract>>,
}

/// What holds for events that a role publishes on this channel; an error if it may not. Rights are as
/// they are now, and so is all of a channel that was dropped and created again.
pub(crate) fn of(channel: &Channel, publisher: Publisher) -> Result<Policy, Error> {
    let Some(settled) = settled()? else { return Ok(Policy::default()) };
    let latest = latest()?;
    let found = settled.channels.get(channel);
    let now = latest.as_ref().and_then(|latest| latest.channels.get(channel));
    if now.or(found).is_some_and(|channel| !channel.allows(publisher.role, Right::Publish)) {
        return Err(permission::deny(Right::Publish, channel, publisher));
    }
    let Some(found) = found else { return Ok(Policy::default()) };
    let kept = now.filter(|now| now.id != found.id).unwrap_or(found);
    let log = kept.durable.then_some((settled.log, kept.id));
    Ok(Policy { log, contract: kept.contract.clone() })
}

/// The durable channels that meet a condition.
pub(crate) fn durable(condition: impl Fn(&Channel) -> bool) -> Result<Vec<Channel>, Error> {
    let Some(registry) = settled()? else { return Ok(Vec::new()) };
    let durable =
        |(channel, registered): &(&Channel, &Registered)| registered.durable && condition(channel);
    Ok(registry.channels.iter().filter(durable).map(|(channel, _)| *channel).collect())
}

/// The policies that the current transaction keeps. `None` without the extension.
fn settled() -> Result<Option<Rc<Registry>>, Error> {
    let transaction = transaction();
    if CHANGED.get() != transaction {
        let kept = SETTLED.with_borrow(|settled| match settled {
            Some((since, registry)) if *since == transaction => Some(registry.clone()),
            _ => None,
        });
        if kept.is_some() {
            return Ok(kept);
        }
    }
    let registry = latest()?;
    SETTLED.set(registry.clone().map(|registry| (transaction, registry)));
    Ok(registry)
}

/// The policies as they are now. `None` without the extension.
pub(crate) fn latest() -> Result<Option<Rc<Registry>>, Error> {
    let transaction = transaction();
    // SAFETY: in a transaction this may run anywhere.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    let kept = LATEST.with_borrow(|latest| match latest {
        // Whether a transaction that changed policies has kept them does not matter here.
        Some((since, _)) if *since != transaction && *since == CHANGED.get() => None,
        Some((_, registry)) if !STALE.get() => Some(registry.clone()),
        _ => None,
    });
    if kept.is_some() {
        return Ok(kept);
    }
    let registry = load()?.map(Rc::new);
    LATEST.set(registry.clone().map(|registry| (transaction, registry)));
    Ok(registry)
}

/// What the registry has of a channel now; `None` if it is not registered.
pub(crate) fn find<T>(
    channel: &Channel,
    look: impl FnOnce(&Registered) -> T,
) -> Result<Option<T>, Error> {
    Ok(latest()?.and_then(|registry| registry.channels.get(channel).map(look)))
}

/// Has everything read again at the next call.
pub(crate) fn forget() {
    LATEST.set(None);
    SETTLED.set(None);
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

/// The trigger on the tables of the registry.
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

/// Reads the registry. `None` where there is none.
fn load() -> Result<Option<Registry>, Error> {
    let (schema, table) = table();
    // Where it is missing the next call looks again: nobody tells of a table to come.
    TABLE.set(table);
    if table == Oid::INVALID {
        return Ok(None);
    }
    // SAFETY: the relation stays open until it was read, or to the end of the transaction if an
    // error comes.
    unsafe {
        let relation = pg_sys::try_table_open(table, pg_sys::AccessShareLock as i32);
        if relation.is_null() {
            return Ok(None);
        }
        STALE.set(false);
        let before = LATEST.take().map(|(_, registry)| registry);
        let registry = Registry::read(relation, schema, before.as_deref());
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        registry.map(Some)
    }
}
