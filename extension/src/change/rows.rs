//! The rows of a statement.

use pgrx::pg_sys;
use pgrx::pg_sys::{MemoryContext, TupleDesc, TupleTableSlot, Tuplestorestate};

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

/// Memory for what writing a row allocates.
pub(super) struct RowMemory(MemoryContext);

impl RowMemory {
    pub(super) fn new() -> Self {
        // SAFETY: the name is static. It is a child of the current context.
        Self(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"notify_json row".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        })
    }

    /// Frees what `write` allocates. It must return nothing of that.
    pub(super) fn used_by<T>(&self, write: impl FnOnce() -> T) -> T {
        // SAFETY: the context is the current one while `write` runs, and if that raises an error
        // the server sets its own.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.0);
            let written = write();
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextReset(self.0);
            written
        }
    }
}

impl Drop for RowMemory {
    fn drop(&mut self) {
        // SAFETY: it is deleted once, and not the current one.
        unsafe { pg_sys::MemoryContextDelete(self.0) };
    }
}
