//! The rows of a statement.

use pgrx::pg_sys;
use pgrx::pg_sys::{TupleDesc, TupleTableSlot, Tuplestorestate};

/// Reads a transition table from its beginning.
pub(super) struct Rows {
    table: *mut Tuplestorestate,
    pointer: i32,
    slot: *mut TupleTableSlot,
}

impl Rows {
    /// # Safety
    /// The table must have rows of this descriptor, and both must outlive this.
    pub(super) unsafe fn of(table: *mut Tuplestorestate, descriptor: TupleDesc) -> Self {
        // SAFETY: the caller vouches for the arguments. The new pointer begins where the first one
        // is, which may be anywhere.
        unsafe {
            let pointer =
                pg_sys::tuplestore_alloc_read_pointer(table, pg_sys::EXEC_FLAG_REWIND as i32);
            pg_sys::tuplestore_select_read_pointer(table, pointer);
            pg_sys::tuplestore_rescan(table);
            let slot = pg_sys::MakeSingleTupleTableSlot(descriptor, &pg_sys::TTSOpsMinimalTuple);
            Self { table, pointer, slot }
        }
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> i64 {
        // SAFETY: the table outlives this.
        unsafe { pg_sys::tuplestore_tuple_count(self.table) }
    }

    /// The next row, until the one after it is asked for.
    pub(super) fn next(&mut self) -> Option<*mut TupleTableSlot> {
        // SAFETY: the table outlives this.
        unsafe {
            pg_sys::tuplestore_select_read_pointer(self.table, self.pointer);
            let found = pg_sys::tuplestore_gettupleslot(self.table, true, false, self.slot);
            found.then_some(self.slot)
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // SAFETY: it was made by MakeSingleTupleTableSlot, and is used nowhere else.
        unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
    }
}
