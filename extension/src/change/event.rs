//! The text of an event.

use pgrx::pg_sys::{Datum, TupleTableSlot};

use super::plan::Plan;

/// A row of the table that a plan is for.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    values: &'a [Datum],
    nulls: &'a [bool],
}

/// What has happened to a row.
#[derive(Clone, Copy)]
pub(super) enum Change<'a> {
    Insert(Row<'a>),
    Update { old: Row<'a>, new: Row<'a> },
    Delete(Row<'a>),
}

impl<'a> Row<'a> {
    /// # Safety
    /// The slot must hold a row with as many columns, and stay as it is while this is used.
    pub(super) unsafe fn of(slot: *mut TupleTableSlot, width: usize) -> Self {
        // SAFETY: the caller vouches for the slot; its arrays have the length of its descriptor.
        unsafe {
            if ((*slot).tts_nvalid as usize) < width {
                pgrx::pg_sys::slot_getsomeattrs_int(slot, width as i32);
            }
            Self {
                values: std::slice::from_raw_parts((*slot).tts_values, width),
                nulls: std::slice::from_raw_parts((*slot).tts_isnull, width),
            }
        }
    }
}

/// Writes `"key":…,"changed":…,"new":…,"old":…` as far as they apply; `false` if nothing is to be
/// sent, and then nothing is written.
///
/// # Safety
/// The rows must be of the plan's table.
pub(super) unsafe fn write(change: Change<'_>, plan: &Plan, json: &mut Vec<u8>) -> bool {
    // SAFETY: the caller vouches for the rows.
    unsafe {
        match change {
            Change::Insert(new) => {
                key(new, plan, json);
                json.extend_from_slice(b",\"new\":");
                row(new, plan, json);
            }
            Change::Delete(old) => {
                key(old, plan, json);
                json.extend_from_slice(b",\"old\":");
                row(old, plan, json);
            }
            Change::Update { old, new } => {
                let start = json.len();
                key(new, plan, json);
                let (changed, key_changed) = changed(old, new, plan, json);
                if plan.only_if_changed && !changed {
                    json.truncate(start);
                    return false;
                }
                json.extend_from_slice(b",\"new\":");
                row(new, plan, json);
                // Without the old key nobody could tell which row it was.
                if plan.include_old || key_changed {
                    json.extend_from_slice(b",\"old\":");
                    row(old, plan, json);
                }
            }
        }
    }
    true
}

/// # Safety
/// As [`write`].
unsafe fn key(row: Row<'_>, plan: &Plan, json: &mut Vec<u8>) {
    json.extend_from_slice(b"\"key\":");
    match &plan.key {
        // SAFETY: the caller vouches for the row.
        Some(key) => unsafe { object(row, plan, key.iter().copied(), json) },
        None => json.extend_from_slice(b"null"),
    }
}

/// # Safety
/// As [`write`].
unsafe fn row(row: Row<'_>, plan: &Plan, json: &mut Vec<u8>) {
    // SAFETY: the caller vouches for the row.
    unsafe { object(row, plan, 0..plan.columns.len(), json) };
}

/// # Safety
/// As [`write`].
unsafe fn object(
    row: Row<'_>,
    plan: &Plan,
    columns: impl Iterator<Item = usize>,
    json: &mut Vec<u8>,
) {
    let mut separator = b'{';
    for column in columns {
        let column = &plan.columns[column];
        json.push(separator);
        separator = b',';
        json.extend_from_slice(&column.name);
        json.push(b':');
        if row.nulls[column.index] {
            json.extend_from_slice(b"null");
        } else {
            // SAFETY: the caller vouches for the row, whose columns have the types of the plan.
            unsafe { column.writer.write(row.values[column.index], json) };
        }
    }
    if separator == b'{' {
        json.push(b'{');
    }
    json.push(b'}');
}

/// Writes the names of the columns that differ. Whether any does, and any of the key.
///
/// # Safety
/// As [`write`].
unsafe fn changed(old: Row<'_>, new: Row<'_>, plan: &Plan, json: &mut Vec<u8>) -> (bool, bool) {
    let (mut any, mut of_key) = (false, false);
    json.extend_from_slice(b",\"changed\":[");
    for (number, column) in plan.columns.iter().enumerate() {
        let index = column.index;
        let is_same = if old.nulls[index] || new.nulls[index] {
            old.nulls[index] == new.nulls[index]
        } else {
            // SAFETY: the caller vouches for the rows.
            unsafe { column.storage.is_same(old.values[index], new.values[index]) }
        };
        if !is_same {
            if any {
                json.push(b',');
            }
            json.extend_from_slice(&column.name);
            any = true;
            of_key |= plan.key.as_ref().is_some_and(|key| key.contains(&number));
        }
    }
    json.push(b']');
    (any, of_key)
}
