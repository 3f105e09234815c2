//! What a trigger needs to know for each row, found out once and kept until its table changes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::pg_sys::{Datum, MemoryContext, Oid, Relation, Trigger};
use pgrx::{PgTupleDesc, pg_guard, pg_sys};

use super::catalog::{key_columns, listed_columns, table_name, vouching_owner, watched};
use super::compare::Storage;
use super::value::{Writer, quote};
use crate::channel::Channel;
use crate::error::Error;
use crate::permission::Publisher;

/// A trigger of `watch()`.
pub(super) struct Plan {
    pub(super) channel: Channel,
    pub(super) only_if_changed: bool,
    pub(super) include_old: bool,
    /// `"table":` and the name.
    pub(super) table: Vec<u8>,
    pub(super) columns: Vec<Column>,
    /// Which of the columns are the key; `None` without a key, or if it is not all among them.
    pub(super) key: Option<Vec<usize>>,
    /// How many columns a row has, with those not among the columns.
    pub(super) width: usize,
    /// The table of the trigger, and the one that was watched.
    tables: [Oid; 2],
    /// Of the latter, if the trigger publishes in its name.
    owner: Option<Oid>,
    _context: Context,
}

/// A column whose values are sent.
pub(super) struct Column {
    /// Its place in a row, from 0.
    pub(super) index: usize,
    /// Its name as a JSON string.
    pub(super) name: Vec<u8>,
    pub(super) writer: Writer,
    pub(super) storage: Storage,
}

/// A memory context, deleted when dropped.
struct Context(MemoryContext);

thread_local! {
    /// By the trigger's oid.
    static PLANS: RefCell<HashMap<Oid, Rc<Plan>>> = RefCell::new(HashMap::new());
    /// How often anything was invalidated.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Called once, when the library is loaded.
pub(super) fn watch() {
    let schema = pg_sys::SysCacheIdentifier::NAMESPACEOID as i32;
    // SAFETY: the callbacks are static.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), Datum::from(0));
        pg_sys::CacheRegisterSyscacheCallback(schema, Some(schema_changed), Datum::from(0));
    }
}

/// Told at any moment, so it must not fail. An invalid oid means all.
#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_argument: Datum, relation: Oid) {
    CHANGES.set(CHANGES.get() + 1);
    PLANS.with_borrow_mut(|plans| {
        plans.retain(|_, plan| relation != Oid::INVALID && !plan.tables.contains(&relation));
    });
}

/// A schema may have another name.
#[pg_guard]
unsafe extern "C-unwind" fn schema_changed(_argument: Datum, _cache: i32, _hash: u32) {
    CHANGES.set(CHANGES.get() + 1);
    PLANS.with_borrow_mut(HashMap::clear);
}

impl Plan {
    /// In whose name changes are published: whoever makes them needs no right.
    pub(super) fn publisher(&self) -> Publisher {
        match self.owner {
            Some(role) => Publisher { role, table: self.tables[1] },
            None => Publisher::caller(),
        }
    }

    /// # Safety
    /// `trigger` must be one of `relation`, which must be open.
    pub(super) unsafe fn of(
        trigger: *const Trigger,
        relation: Relation,
    ) -> Result<Rc<Self>, Error> {
        // SAFETY: the caller vouches for it.
        let oid = unsafe { (*trigger).tgoid };
        if let Some(plan) = PLANS.with_borrow(|plans| plans.get(&oid).cloned()) {
            return Ok(plan);
        }
        loop {
            let changes = CHANGES.get();
            // SAFETY: as above.
            let plan = Rc::new(unsafe { Self::make(trigger, relation) }?);
            // Otherwise it may hold what was changed meanwhile.
            if changes == CHANGES.get() {
                PLANS.with_borrow_mut(|plans| plans.insert(oid, plan.clone()));
                return Ok(plan);
            }
        }
    }

    /// # Safety
    /// As [`of`](Self::of).
    unsafe fn make(trigger: *const Trigger, relation: Relation) -> Result<Self, Error> {
        // SAFETY: the caller vouches for the trigger, whose arguments are NUL-terminated.
        let [channel, options] = unsafe {
            if (*trigger).tgnargs != 2 {
                return Err(Error::ForeignTrigger);
            }
            [0, 1].map(|number| CStr::from_ptr(*(*trigger).tgargs.add(number)).to_bytes())
        };
        let has = |option: &str| options.split(|b| *b == b' ').any(|o| o == option.as_bytes());
        // SAFETY: as above.
        unsafe {
            let (original, watched) = watched(trigger, relation);
            let owner = vouching_owner(original, watched, channel);
            let listed =
                has("columns").then(|| listed_columns(watched, (*trigger).tgfoid, channel, owner));
            let context = Context::new();
            let descriptor = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
            let mut columns = Vec::new();
            for (index, attribute) in descriptor.iter().enumerate() {
                let name = CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes();
                let is_listed =
                    listed.as_ref().is_none_or(|listed| listed.iter().any(|column| column == name));
                // The value of a virtual column is in no row.
                if attribute.attisdropped || attribute.attgenerated == b'v' as i8 || !is_listed {
                    continue;
                }
                let mut quoted = Vec::new();
                quote(name, &mut quoted);
                columns.push(Column {
                    index,
                    name: quoted,
                    writer: Writer::of_type(attribute.atttypid, context.0),
                    storage: Storage { by_value: attribute.attbyval, length: attribute.attlen },
                });
            }
            // The key of a partition could be that of a row in another one, too.
            let key = key_columns(watched).and_then(|key| {
                let place = |name: &Vec<u8>| {
                    let mut quoted = Vec::new();
                    quote(name, &mut quoted);
                    columns.iter().position(|column| column.name == quoted)
                };
                key.iter().map(place).collect()
            });
            let mut table = b"\"table\":".to_vec();
            quote(&table_name(watched), &mut table);
            Ok(Self {
                channel: Channel::named(channel)?,
                only_if_changed: has("only_if_changed"),
                include_old: has("include_old"),
                table,
                columns,
                key,
                width: descriptor.len(),
                tables: [(*relation).rd_id, watched],
                owner,
                _context: context,
            })
        }
    }
}

impl Context {
    fn new() -> Self {
        // SAFETY: the name is static.
        Self(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"notify_json trigger".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
            )
        })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: nothing else deletes it, and what lives in it is dropped with it.
        unsafe { pg_sys::MemoryContextDelete(self.0) };
    }
}
