//! Whether a value has changed.

use pgrx::pg_sys;
use pgrx::pg_sys::Datum;
use pgrx::varlena::varsize_any;

unsafe extern "C-unwind" {
    /// `src/backend/utils/adt/datum.c`; pgrx does not bind it.
    fn datum_image_eq(first: Datum, second: Datum, by_value: bool, length: i32) -> bool;
}

/// How values of a type are held: `typbyval` and `typlen`.
#[derive(Clone, Copy)]
pub(super) struct Storage {
    pub(super) by_value: bool,
    pub(super) length: i16,
}

impl Storage {
    /// Whether two values are equal byte for byte, however each is compressed or stored.
    ///
    /// # Safety
    /// Both must be of the type.
    pub(super) unsafe fn is_same(self, first: Datum, second: Datum) -> bool {
        if self.by_value {
            return first == second;
        }
        // SAFETY: by the caller's promise the pointers lead to values of this length; what is
        // stored elsewhere is compared by its pointer here, which names one value for ever.
        unsafe {
            let bytes = match self.length {
                -1 => {
                    let length = varsize_any(first.cast_mut_ptr());
                    (varsize_any(second.cast_mut_ptr()) == length).then_some(length)
                }
                length => usize::try_from(length).ok(),
            };
            let same = bytes.is_some_and(|bytes| slice(first, bytes) == slice(second, bytes));
            // Equal values may also be stored in different ways.
            same || self.length < 0
                && pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    datum_image_eq(first, second, false, self.length.into())
                })
        }
    }
}

/// # Safety
/// The datum must point to as many bytes.
unsafe fn slice<'a>(datum: Datum, bytes: usize) -> &'a [u8] {
    // SAFETY: the caller vouches for it.
    unsafe { std::slice::from_raw_parts(datum.cast_mut_ptr(), bytes) }
}
