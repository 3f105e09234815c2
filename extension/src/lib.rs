//! The server side of `notify_json`: SQL call → frames → queue of `NOTIFY`.

mod argument;
mod attendance;
mod board;
mod caller;
mod change;
mod channel;
mod checked;
mod contract;
mod doorbell;
mod error;
mod event;
mod json;
mod news;
mod notify;
mod permission;
mod policy;
mod queue;
mod registry;
mod settings;
mod status;
mod window;
mod worker;

::pgrx::pg_module_magic!(name, version);

::pgrx::extension_sql_file!("../../sql/schema.sql", name = "schema", bootstrap);
::pgrx::extension_sql_file!("../../sql/check.sql", name = "check", requires = ["schema"]);
::pgrx::extension_sql_file!("../../sql/channel.sql", name = "channel", requires = ["check"]);
::pgrx::extension_sql_file!(
    "../../sql/permission.sql",
    name = "permission",
    requires = ["channel"]
);
::pgrx::extension_sql_file!("../../sql/contract.sql", name = "contract", requires = ["permission"]);
::pgrx::extension_sql_file!("../../sql/event.sql", name = "event", requires = ["contract"]);
::pgrx::extension_sql_file!("../../sql/doorbell.sql", name = "doorbell", requires = ["event"]);
::pgrx::extension_sql_file!("../../sql/window.sql", name = "window", requires = ["doorbell"]);
::pgrx::extension_sql_file!("../../sql/read.sql", name = "read", requires = ["window"]);
::pgrx::extension_sql_file!("../../sql/consumer.sql", name = "consumer", requires = ["read"]);
::pgrx::extension_sql_file!("../../sql/holder.sql", name = "holder", requires = ["consumer"]);
::pgrx::extension_sql_file!("../../sql/fetch.sql", name = "fetch", requires = ["holder"]);
::pgrx::extension_sql_file!("../../sql/views.sql", name = "views", requires = ["fetch"]);
::pgrx::extension_sql_file!("../../sql/worker.sql", name = "worker", requires = ["views"]);
::pgrx::extension_sql_file!("../../sql/removal.sql", name = "removal", requires = ["worker"]);
::pgrx::extension_sql_file!("../../sql/prune.sql", name = "prune", requires = ["removal"]);
::pgrx::extension_sql_file!("../../sql/watch.sql", name = "watch", requires = ["prune"]);
::pgrx::extension_sql_file!("../../sql/checked.sql", name = "checked", requires = ["watch"]);
::pgrx::extension_sql_file!("../../sql/rights.sql", name = "rights", requires = ["checked"]);
::pgrx::extension_sql_file!("../../sql/comments.sql", name = "comments", finalize);

/// Called by the server when it loads the library.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
    policy::watch();
    caller::watch();
    doorbell::watch();
    change::watch();
    worker::install();
}
