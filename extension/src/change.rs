//! Changes of tables as events: the trigger of `watch()`.

mod catalog;
mod compare;
mod event;
mod memory;
mod plan;
mod rows;
mod statement;
mod transaction;
mod value;

use std::cell::Cell;

use pgrx::pg_sys::{TriggerData, TriggerEvent};
use pgrx::{check_for_interrupts, pg_extern, pg_sys};

use crate::error::Error;
use crate::notify::{Checked, publish};
use crate::settings;
use event::{Change, Row};
use memory::RowMemory;
use plan::Plan;
use rows::Rows;

/// Called once, when the library is loaded.
pub(crate) fn watch() {
    plan::watch();
    transaction::watch();
}

#[pg_extern(sql = false)]
fn row_changed(call: pg_sys::FunctionCallInfo) {
    // SAFETY: the server fills the call in, and its context with it.
    let published = unsafe {
        let context = (*call).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            Err(Error::ForeignTrigger)
        } else {
            changed(&*context.cast())
        }
    };
    published.unwrap_or_else(|error| error.raise());
}

/// The kinds of statements.
#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Insert,
    Update,
    Delete,
    Truncate,
}

impl Operation {
    fn of(event: TriggerEvent) -> Self {
        match event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => Self::Insert,
            pg_sys::TRIGGER_EVENT_UPDATE => Self::Update,
            pg_sys::TRIGGER_EVENT_DELETE => Self::Delete,
            _ => Self::Truncate,
        }
    }

    /// The beginning of an event's text, as far as the name of the table.
    fn head(self) -> &'static [u8] {
        match self {
            Self::Insert => b"{\"op\":\"insert\",",
            Self::Update => b"{\"op\":\"update\",",
            Self::Delete => b"{\"op\":\"delete\",",
            Self::Truncate => b"{\"op\":\"truncate\",",
        }
    }
}

/// # Safety
/// The server must have filled the data in.
unsafe fn changed(data: &TriggerData) -> Result<(), Error> {
    const AFTER: u32 = 0;
    if data.tg_event & pg_sys::TRIGGER_EVENT_TIMINGMASK != AFTER {
        return Err(Error::ForeignTrigger);
    }
    let operation = Operation::of(data.tg_event);
    // SAFETY: the trigger is one of the relation, and the slots hold rows of it.
    unsafe {
        let plan = Plan::of(data.tg_trigger, data.tg_relation)?;
        if data.tg_event & pg_sys::TRIGGER_EVENT_ROW != 0 {
            let row = Row::of(data.tg_trigslot, plan.width);
            let change = match operation {
                Operation::Insert => Change::Insert(row),
                Operation::Delete => Change::Delete(row),
                _ => Change::Update { old: row, new: Row::of(data.tg_newslot, plan.width) },
            };
            send(&plan, operation, |json| {
                json.push(b',');
                Ok(event::write(change, &plan, json))
            })
        } else if operation == Operation::Truncate {
            send(&plan, operation, |_| Ok(true))
        } else {
            statement(data, &plan, operation)
        }
    }
}

/// # Safety
/// As [`changed`], and the trigger must be one of a statement.
unsafe fn statement(data: &TriggerData, plan: &Plan, operation: Operation) -> Result<(), Error> {
    let (old, new) = (data.tg_oldtable, data.tg_newtable);
    let is_complete = match operation {
        Operation::Insert => !new.is_null(),
        Operation::Delete => !old.is_null(),
        _ => !old.is_null() && !new.is_null(),
    };
    if !is_complete {
        return Err(Error::ForeignTrigger);
    }
    // SAFETY: the transition tables have rows of the relation.
    unsafe {
        let descriptor = (*data.tg_relation).rd_att;
        let rows = |table| Rows::of(table, descriptor);
        match operation {
            Operation::Insert => one_by_one(plan, operation, rows(new)),
            Operation::Delete => one_by_one(plan, operation, rows(old)),
            _ => {
                let (old, new) = (rows(old), rows(new));
                if old.count() == new.count() {
                    return in_pairs(plan, old, new);
                }
                // A trigger kept a row from coming to another partition: it has just gone, and
                // nothing tells of which old row a new one was made.
                one_by_one(plan, Operation::Delete, old)?;
                one_by_one(plan, Operation::Insert, new)
            }
        }
    }
}

/// # Safety
/// The rows must be of the plan's table.
unsafe fn one_by_one(plan: &Plan, operation: Operation, mut rows: Rows) -> Result<(), Error> {
    let count = rows.count();
    send_rows(plan, operation, count, || {
        let slot = rows.next()?;
        // SAFETY: the caller vouches for the rows.
        let row = unsafe { Row::of(slot, plan.width) };
        Some(match operation {
            Operation::Delete => Change::Delete(row),
            _ => Change::Insert(row),
        })
    })
}

/// # Safety
/// The rows must be of the plan's table, the old ones in the order of the new ones.
unsafe fn in_pairs(plan: &Plan, mut old: Rows, mut new: Rows) -> Result<(), Error> {
    let count = new.count();
    send_rows(plan, Operation::Update, count, || {
        let (old, new) = (old.next()?, new.next()?);
        // SAFETY: the caller vouches for the rows.
        unsafe {
            let (old, new) = (Row::of(old, plan.width), Row::of(new, plan.width));
            Some(Change::Update { old, new })
        }
    })
}

/// Sends the changes that `next` gives in one event, unless there are none.
fn send_rows<'a>(
    plan: &Plan,
    operation: Operation,
    count: i64,
    mut next: impl FnMut() -> Option<Change<'a>>,
) -> Result<(), Error> {
    let limit = settings::max_message_bytes();
    send(plan, operation, |json| {
        json.extend_from_slice(b",\"rows\":");
        let start = json.len();
        let mut separator = b'[';
        let memory = RowMemory::new();
        for done in 0.. {
            check_for_interrupts!();
            let Some(change) = next() else { break };
            let end = json.len();
            json.extend_from_slice(&[separator, b'{']);
            // SAFETY: the rows are of the plan's table.
            if memory.used_by(|| unsafe { event::write(change, plan, json) }) {
                json.push(b'}');
                separator = b',';
            } else {
                json.truncate(end);
            }
            if json.len() > limit {
                return Err(Error::LargeStatement { done: done + 1, count, limit });
            }
        }
        json.push(b']');
        Ok(json.len() > start + 1)
    })
}

thread_local! {
    /// The text of the last event, kept for its memory.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What the memory kept for the next event may take.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Publishes an event whose rows `write` writes, unless that says `false`.
fn send(
    plan: &Plan,
    operation: Operation,
    write: impl FnOnce(&mut Vec<u8>) -> Result<bool, Error>,
) -> Result<(), Error> {
    // Taken, not borrowed: writing calls functions of types, which may change watched tables.
    let mut json = BUFFER.take();
    json.clear();
    json.extend_from_slice(operation.head());
    json.extend_from_slice(&plan.table);
    if write(&mut json)? {
        transaction::stamp(&mut json);
        if publish(&plan.channel, Checked::ByServer(&json), plan.publisher())?.is_none() {
            transaction::count(json.len())?;
        }
    }
    if json.capacity() <= MAX_KEPT_BYTES {
        BUFFER.set(json);
    }
    Ok(())
}
