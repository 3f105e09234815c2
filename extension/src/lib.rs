//! The server side of `notify_json`: SQL call → frames → queue of `NOTIFY`.

mod argument;
mod error;
mod json;
mod notify;
mod queue;
mod settings;

::pgrx::pg_module_magic!(name, version);

::pgrx::extension_sql_file!("../../sql/comments.sql", name = "comments", finalize);

/// Called by the server when it loads the library.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
}
