//! Memory contexts of the server.

use pgrx::pg_sys;
use pgrx::pg_sys::MemoryContext;

/// Runs `work` with a memory context as the current one.
///
/// # Safety
/// The context must live as long as that takes.
pub(super) unsafe fn within<T>(context: MemoryContext, work: impl FnOnce() -> T) -> T {
    /// An error goes through here, too. It is reported from the current context, which must not be
    /// one that is deleted on the way.
    struct Back(MemoryContext);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: it was the current one.
            unsafe { pg_sys::MemoryContextSwitchTo(self.0) };
        }
    }
    // SAFETY: the caller vouches for the context.
    let _back = Back(unsafe { pg_sys::MemoryContextSwitchTo(context) });
    work()
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
        // SAFETY: it is not the current one when it is reset.
        unsafe {
            let written = within(self.0, write);
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
