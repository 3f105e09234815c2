//! What `watch()` puts together of its caller's texts.

use std::ffi::CString;

use pgrx::{pg_extern, pg_sys};

use crate::argument::Text;

/// Whether a text is one SQL statement by the server's own grammar, which refuses what is none.
#[pg_extern(sql = false)]
fn is_one_statement(sql: Text<'_>) -> bool {
    let sql = CString::new(sql.bytes()).expect("a text holds no NUL");
    // SAFETY: NUL-terminated; the list outlives its use.
    unsafe {
        let statements = pg_sys::raw_parser(sql.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        !statements.is_null() && (*statements).length == 1
    }
}
