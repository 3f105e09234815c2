//! The `notify_json.*` settings.

use std::ffi::{CStr, CString, c_char, c_void};
use std::time::Duration;

use notify_json_wire::{DEFAULT_MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PgList, pg_guard, pg_sys};

static MAX_MESSAGE_BYTES: GucSetting<i32> =
    GucSetting::<i32>::new(DEFAULT_MAX_MESSAGE_BYTES as i32);
static COMPRESS_ABOVE_BYTES: GucSetting<i32> = GucSetting::<i32>::new(MAX_PAYLOAD_BYTES as i32);
static MAX_TRANSACTION_BYTES: GucSetting<i32> = GucSetting::<i32>::new(256 << 20);
static DATABASES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
static DOORBELL_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(1);

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

/// The databases that are to have a worker.
pub(crate) fn databases() -> Vec<CString> {
    names(&DATABASES.get().unwrap_or_default()).unwrap_or_default()
}

/// The least time from one round of a worker to its next.
pub(crate) fn doorbell_interval() -> Duration {
    Duration::from_millis(DOORBELL_INTERVAL.get().unsigned_abs().into())
}

pub(crate) fn define() {
    define_for_messages();
    define_for_workers();
    // SAFETY: called from _PG_init with a static, NUL-terminated name.
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(c"notify_json".as_ptr());
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(c"notify_json".as_ptr());
    }
}

fn define_for_messages() {
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
}

fn define_for_workers() {
    // SAFETY: the hook is guarded.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"notify_json.databases",
            c"Databases whose doorbells a background worker rings, separated by commas.",
            c"Takes effect if notify_json is in shared_preload_libraries.",
            &DATABASES,
            GucContext::Sighup,
            GucFlags::default(),
            Some(check_databases),
            None,
            None,
        );
    }
    GucRegistry::define_int_guc(
        c"notify_json.doorbell_interval",
        c"Least time from one round of a doorbell worker to its next.",
        c"It grows with the rate of commits: tenfold from 6,000 a second on.",
        &DOORBELL_INTERVAL,
        0,
        1_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}

#[pg_guard]
unsafe extern "C-unwind" fn check_databases(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server hands over a string.
    let is_list = names(unsafe { CStr::from_ptr(*value) }).is_some();
    if !is_list {
        let detail = c"It must be names of databases, separated by commas, as SQL takes them.";
        // SAFETY: the server reads it before it calls another hook.
        unsafe { pg_sys::GUC_check_errdetail_string = detail.as_ptr().cast_mut() };
    }
    is_list
}

/// The names in a list as in `search_path`: folded to lower case unless they are quoted.
fn names(list: &CStr) -> Option<Vec<CString>> {
    let mut names = std::ptr::null_mut();
    // SAFETY: the names point into the copy, which lives until they are copied in turn.
    unsafe {
        let copy = pg_sys::pstrdup(list.as_ptr());
        let is_list = pg_sys::SplitIdentifierString(copy, b',' as c_char, &mut names);
        let list = PgList::<c_char>::from_pg(names);
        let owned = list.iter_ptr().map(|name| CStr::from_ptr(name).to_owned()).collect();
        pg_sys::list_free(names);
        pg_sys::pfree(copy.cast());
        is_list.then_some(owned)
    }
}
