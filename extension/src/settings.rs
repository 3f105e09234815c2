//! The `notify_json.*` settings.

use notify_json_wire::{DEFAULT_MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_sys};

static MAX_MESSAGE_BYTES: GucSetting<i32> =
    GucSetting::<i32>::new(DEFAULT_MAX_MESSAGE_BYTES as i32);
static COMPRESS_ABOVE_BYTES: GucSetting<i32> = GucSetting::<i32>::new(MAX_PAYLOAD_BYTES as i32);
static MAX_TRANSACTION_BYTES: GucSetting<i32> = GucSetting::<i32>::new(256 << 20);

/// What a `text` can hold: 1 GiB less one byte, PostgreSQL's `MaxAllocSize`.
const MAX_TEXT_BYTES: i32 = 0x3fff_ffff;

pub(crate) fn max_message_bytes() -> usize {
    MAX_MESSAGE_BYTES.get() as usize
}

/// `None` when compression is turned off.
pub(crate) fn compress_above_bytes() -> Option<usize> {
    usize::try_from(COMPRESS_ABOVE_BYTES.get()).ok()
}

pub(crate) fn max_transaction_bytes() -> usize {
    MAX_TRANSACTION_BYTES.get() as usize
}

pub(crate) fn define() {
    GucRegistry::define_int_guc(
        c"notify_json.max_message_bytes",
        c"Longest JSON text that notify_json() accepts.",
        c"Measured in UTF-8. Listeners have a limit of their own, with the same default.",
        &MAX_MESSAGE_BYTES,
        1,
        MAX_TEXT_BYTES,
        GucContext::Userset,
        GucFlags::UNIT_BYTE,
    );
    GucRegistry::define_int_guc(
        c"notify_json.compress_above_bytes",
        c"JSON texts longer than this travel compressed where that saves an eighth of them.",
        c"-1 turns compression off. The default leaves bare what fits one notification.",
        &COMPRESS_ABOVE_BYTES,
        -1,
        MAX_TEXT_BYTES,
        GucContext::Userset,
        GucFlags::UNIT_BYTE,
    );
    GucRegistry::define_int_guc(
        c"notify_json.max_transaction_bytes",
        c"Memory that the row changes of one transaction may take on live channels.",
        c"They wait in memory for the commit.",
        &MAX_TRANSACTION_BYTES,
        1,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_BYTE,
    );
    // SAFETY: called from _PG_init with a static, NUL-terminated name.
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(c"notify_json".as_ptr());
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(c"notify_json".as_ptr());
    }
}
