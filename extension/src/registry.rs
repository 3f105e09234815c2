//! The registry of channels as its tables have it: which are durable, who may do what on them, and
//! what their events must meet.

use std::collections::HashMap;
use std::ffi::CStr;
use std::ptr::null_mut;
use std::rc::Rc;

use pgrx::pg_sys::{Datum, Oid, Relation};
use pgrx::{FromDatum, pg_sys};

use crate::channel::Channel;
use crate::contract::Contract;
use crate::error::Error;
use crate::event::Log;
use crate::permission::Right;

pub(crate) struct Registry {
    pub(crate) channels: HashMap<Channel, Registered>,
    /// Where events of durable channels are written.
    pub(crate) log: Log,
}

/// A channel that has a policy.
pub(crate) struct Registered {
    pub(crate) durable: bool,
    /// One that is dropped and created again is another one. 0 in tables of version 0.1.0.
    pub(crate) id: i64,
    /// `None` in tables of version 0.1.0, where everybody may do everything.
    owner: Option<Oid>,
    granted: Vec<(Right, Oid)>,
    pub(crate) contract: Option<Rc<Contract>>,
}

impl Registered {
    /// Whether a role has a right, by itself or as a member of another role.
    pub(crate) fn allows(&self, role: Oid, right: Right) -> bool {
        let Some(owner) = self.owner else { return true };
        // SAFETY: looks into caches of catalogs. A role that is gone has no members.
        let is = |other| unsafe { pg_sys::has_privs_of_role(role, other) };
        is(owner)
            || self.granted.iter().any(|(granted, grantee)| {
                *granted == right && (*grantee == EVERYBODY || is(*grantee))
            })
    }
}

/// The grantee that is called public.
const EVERYBODY: Oid = Oid::INVALID;

/// The schema of the extension and its table of channels; the table is invalid if it is missing.
pub(crate) fn table() -> (Oid, Oid) {
    // SAFETY: static, NUL-terminated names.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"notify_json".as_ptr(), true);
        (schema, pg_sys::get_relname_relid(c"channel".as_ptr(), schema))
    }
}

impl Registry {
    /// Reads the tables, whatever role asks. Contracts that are as they were before stay compiled.
    ///
    /// # Safety
    /// `channels` must be the table of channels, open, and `schema` that of the extension.
    pub(crate) unsafe fn read(
        channels: Relation,
        schema: Oid,
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let mut registry = Self { channels: HashMap::new(), log: Log::find(schema)? };
        let mut retention = 0;
        // SAFETY: the caller vouches for the table; the values are of its columns.
        unsafe {
            let is_old = match width(channels) {
                CHANNEL_COLUMNS => false,
                OLD_CHANNEL_COLUMNS => true,
                _ => return Err(Error::Version { table: "notify_json.channel" }),
            };
            visit(channels, |[name, is_durable, kept, _, owner, id]| {
                let Some(name) = <&[u8]>::from_datum(name, false) else { return };
                let durable = is_true(is_durable);
                let owner = (!is_old).then(|| oid(owner));
                let registered = Registered {
                    durable,
                    id: id.value() as i64,
                    owner,
                    granted: Vec::new(),
                    contract: None,
                };
                registry.channels.insert(Channel::of(name), registered);
                if durable {
                    retention = retention.max(microseconds(&*kept.cast_mut_ptr()));
                }
            });
            if !is_old {
                registry.read_rights(schema)?;
                registry.read_contracts(schema, before)?;
            }
        }
        registry.log.fill_for(retention / 8);
        Ok(registry)
    }

    /// # Safety
    /// `schema` must be that of the extension.
    unsafe fn read_rights(&mut self, schema: Oid) -> Result<(), Error> {
        // SAFETY: the values are of the columns of that table.
        unsafe {
            visit_table(
                schema,
                c"channel_right",
                RIGHT_COLUMNS,
                |[name, role, publish, consume, ..]| {
                    let Some(channel) = self.named(name) else { return };
                    for (right, is_granted) in
                        [(Right::Publish, publish), (Right::Consume, consume)]
                    {
                        if is_true(is_granted) {
                            channel.granted.push((right, oid(role)));
                        }
                    }
                },
            )
        }
    }

    /// # Safety
    /// `schema` must be that of the extension.
    unsafe fn read_contracts(&mut self, schema: Oid, before: Option<&Self>) -> Result<(), Error> {
        let before = |name| before?.channels.get(&name)?.contract.clone();
        // SAFETY: the values are of the columns of that table.
        unsafe {
            visit_table(schema, c"contract", CONTRACT_COLUMNS, |[name, schema, ..]| {
                let known = <&[u8]>::from_datum(name, false).map(Channel::of).and_then(before);
                let schema = <&[u8]>::from_datum(schema, false);
                let (Some(channel), Some(schema)) = (self.named(name), schema) else { return };
                let known = known.filter(|contract| contract.is(schema));
                channel.contract = Some(known.unwrap_or_else(|| Rc::new(Contract::new(schema))));
            })
        }
    }

    /// # Safety
    /// The name must be a string.
    unsafe fn named(&mut self, name: Datum) -> Option<&mut Registered> {
        // SAFETY: the caller vouches for it.
        let name = unsafe { <&[u8]>::from_datum(name, false) };
        self.channels.get_mut(&Channel::of(name?))
    }
}

/// `name`, `durable`, `retention`, `created_at`, `owner`, `id`; the last two are new since 0.1.0.
const CHANNEL_COLUMNS: usize = 6;
const OLD_CHANNEL_COLUMNS: usize = 4;
/// `channel`, `role`, `publish`, `consume`.
const RIGHT_COLUMNS: usize = 4;
/// `channel`, `schema`, `registered_at`.
const CONTRACT_COLUMNS: usize = 3;
const MAX_COLUMNS: usize = 6;

/// How many columns a table has.
///
/// # Safety
/// It must be open.
unsafe fn width(table: Relation) -> usize {
    // SAFETY: the caller vouches for it.
    unsafe { (*(*table).rd_att).natts as usize }
}

/// Calls for each row of a table of the extension, with its values.
///
/// # Safety
/// `schema` must be that of the extension.
unsafe fn visit_table(
    schema: Oid,
    name: &'static CStr,
    columns: usize,
    row: impl FnMut([Datum; MAX_COLUMNS]),
) -> Result<(), Error> {
    // SAFETY: a static, NUL-terminated name; the relation stays open to the end of the scan, or to
    // that of the transaction if an error comes.
    unsafe {
        let lock = pg_sys::AccessShareLock as i32;
        let table = pg_sys::try_table_open(pg_sys::get_relname_relid(name.as_ptr(), schema), lock);
        if table.is_null() || width(table) != columns {
            return Err(Error::Version { table: "a table in schema notify_json" });
        }
        visit(table, row);
        pg_sys::table_close(table, lock);
    }
    Ok(())
}

/// Calls for each row, with its values; a row of fewer columns is filled up with 0.
///
/// # Safety
/// The table must be open and have at most so many columns.
unsafe fn visit(table: Relation, mut row: impl FnMut([Datum; MAX_COLUMNS])) {
    // SAFETY: the tuples live until the next one is asked for. Without a snapshot
    // systable_beginscan takes a new one, at any level of isolation.
    unsafe {
        let scan =
            pg_sys::systable_beginscan(table, Oid::INVALID, false, null_mut(), 0, null_mut());
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let (mut values, mut nulls) = ([Datum::from(0); MAX_COLUMNS], [false; MAX_COLUMNS]);
            let (values_of, nulls_of) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::heap_deform_tuple(tuple, (*table).rd_att, values_of, nulls_of);
            row(values);
        }
        pg_sys::systable_endscan(scan);
    }
}

fn is_true(value: Datum) -> bool {
    value.value() & 0xff != 0
}

fn oid(value: Datum) -> Oid {
    Oid::from(value.value() as u32)
}

/// As the server compares intervals: a month has 30 days.
fn microseconds(interval: &pg_sys::Interval) -> i64 {
    let days = i64::from(interval.month) * 30 + i64::from(interval.day);
    interval.time.saturating_add(days.saturating_mul(86_400_000_000))
}
