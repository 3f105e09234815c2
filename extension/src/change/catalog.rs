//! What the catalogs say of a trigger and its table.

use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys::{Datum, FormData_pg_index, HeapTuple, Oid, Relation, Trigger, TupleDesc};
use pgrx::{FromDatum, pg_sys};

/// What `watch()` has made: the trigger and its table, or those that they are for a partition of.
///
/// # Safety
/// `trigger` must be one of `relation`.
pub(super) unsafe fn watched(trigger: *const Trigger, relation: Relation) -> (Oid, Oid) {
    // SAFETY: the caller vouches for both.
    let (mut oid, mut table) = unsafe { ((*trigger).tgoid, (*relation).rd_id) };
    // SAFETY: as above; a tuple is a row of pg_trigger.
    let mut is_clone = unsafe { (*trigger).tgisclone };
    while is_clone {
        let mut parent = Oid::INVALID;
        let by_oid = (pg_sys::TriggerOidIndexId, pg_sys::Anum_pg_trigger_oid);
        visit(pg_sys::TriggerRelationId, by_oid, oid, |tuple, _| {
            // SAFETY: as above.
            let form = unsafe { &*row::<pg_sys::FormData_pg_trigger>(tuple) };
            (parent, table) = (form.tgparentid, form.tgrelid);
        });
        is_clone = parent != Oid::INVALID;
        if is_clone {
            oid = parent;
        }
    }
    (oid, table)
}

/// Whether a trigger for a channel is one that the owner of its table has made. Whoever has the
/// privilege TRIGGER may make one too, but only the owner may comment on it.
fn is_signed(trigger: Oid, channel: &[u8]) -> bool {
    let sign = [SIGN[0], channel, SIGN[1]].concat();
    // SAFETY: the comment is a NUL-terminated copy.
    unsafe {
        let comment = pg_sys::GetComment(trigger, pg_sys::TriggerRelationId, 0);
        !comment.is_null() && CStr::from_ptr(comment).to_bytes() == sign
    }
}

/// The owner of a table, if its trigger for a channel is signed.
pub(super) fn vouching_owner(trigger: Oid, table: Oid, channel: &[u8]) -> Option<Oid> {
    if !is_signed(trigger, channel) {
        return None;
    }
    // SAFETY: the tuple is a row of pg_class until it is released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache1(cache, Datum::from(table));
        if tuple.is_null() {
            return None;
        }
        let owner = (*row::<pg_sys::FormData_pg_class>(tuple)).relowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}

/// What `create_trigger()` writes around the channel.
const SIGN: [&[u8]; 2] = [b"Publishes on channel \"", b"\" with the rights of the table's owner."];

/// The names of the columns that a watched table's list for a channel has. If its owner has made the
/// trigger, what others have made lists nothing.
pub(super) fn listed_columns(
    table: Oid,
    function: Oid,
    channel: &[u8],
    owner: Option<Oid>,
) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let of_table = (pg_sys::TriggerRelidNameIndexId, pg_sys::Anum_pg_trigger_tgrelid);
    visit(pg_sys::TriggerRelationId, of_table, table, |tuple, descriptor| {
        // SAFETY: the tuple is a row of pg_trigger, whose arguments are never null.
        unsafe {
            let form = row::<pg_sys::FormData_pg_trigger>(tuple);
            let count = (*form).tgattr.dim1 as usize;
            if (*form).tgfoid != function || count == 0 {
                return;
            }
            let mut is_null = false;
            let number = pg_sys::Anum_pg_trigger_tgargs as i32;
            let arguments = pg_sys::heap_getattr(tuple, number, descriptor, &mut is_null);
            let arguments = <&[u8]>::from_datum(arguments, is_null).unwrap_or_default();
            if arguments.split(|byte| *byte == 0).next() != Some(channel) {
                return;
            }
            if owner.is_some() && !is_signed((*form).oid, channel) {
                return;
            }
            let attributes = std::ptr::addr_of!((*form).tgattr.values).cast::<i16>();
            let attributes = std::slice::from_raw_parts(attributes, count);
            names.extend(column_names(table, attributes));
        }
    });
    names
}

/// The names of the columns of the primary key, or else of the replica identity index.
///
/// They are asked of the catalog, as the table may be another one than the statement has locked.
pub(super) fn key_columns(table: Oid) -> Option<Vec<Vec<u8>>> {
    let (mut primary, mut identity) = (None, None);
    let of_table = (pg_sys::IndexIndrelidIndexId, pg_sys::Anum_pg_index_indrelid);
    visit(pg_sys::IndexRelationId, of_table, table, |tuple, _| {
        // SAFETY: the tuple is a row of pg_index.
        unsafe {
            let form = row::<FormData_pg_index>(tuple);
            let key = match *form {
                FormData_pg_index { indisvalid: false, .. } => return,
                FormData_pg_index { indisprimary: true, .. } => &mut primary,
                FormData_pg_index { indisreplident: true, .. } => &mut identity,
                _ => return,
            };
            let columns = std::ptr::addr_of!((*form).indkey.values).cast::<i16>();
            let columns = std::slice::from_raw_parts(columns, (*form).indnkeyatts as usize);
            *key = Some(column_names(table, columns).collect());
        }
    });
    primary.or(identity)
}

fn column_names(table: Oid, numbers: &[i16]) -> impl Iterator<Item = Vec<u8>> {
    numbers.iter().filter_map(move |number| {
        // SAFETY: a NUL-terminated copy, or null.
        unsafe {
            let name = pg_sys::get_attname(table, *number, true);
            (!name.is_null()).then(|| CStr::from_ptr(name).to_bytes().to_vec())
        }
    })
}

/// A table's name with its schema, in quotes where SQL needs them.
pub(super) fn table_name(table: Oid) -> Vec<u8> {
    // SAFETY: the names are NUL-terminated copies. A setting of this session must not decide what
    // a table is called.
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(table));
        let name = pg_sys::get_rel_name(table);
        let quote_all = pg_sys::quote_all_identifiers;
        pg_sys::quote_all_identifiers = false;
        let name = pg_sys::quote_qualified_identifier(schema, name);
        pg_sys::quote_all_identifiers = quote_all;
        CStr::from_ptr(name).to_bytes().to_vec()
    }
}

/// Calls for each row of a catalog that an index finds by the oid in a column.
fn visit(
    catalog: Oid,
    (index, column): (u32, u32),
    oid: Oid,
    mut visit: impl FnMut(HeapTuple, TupleDesc),
) {
    // SAFETY: the catalog stays open until the end of the scan, or of the transaction if an error
    // comes; a tuple lives until the next one is asked for.
    unsafe {
        let lock = pg_sys::AccessShareLock as i32;
        let catalog = pg_sys::table_open(catalog, lock);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &mut key,
            column as i16,
            pg_sys::BTEqualStrategyNumber as u16,
            Oid::from(pg_sys::F_OIDEQ),
            Datum::from(oid),
        );
        let scan =
            pg_sys::systable_beginscan(catalog, Oid::from(index), true, null_mut(), 1, &mut key);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            visit(tuple, (*catalog).rd_att);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
    }
}

/// The fixed part of a row of a catalog.
///
/// # Safety
/// The row must be of that catalog.
unsafe fn row<T>(tuple: HeapTuple) -> *const T {
    // SAFETY: the caller vouches for it.
    unsafe { pg_sys::GETSTRUCT(tuple) }.cast()
}
