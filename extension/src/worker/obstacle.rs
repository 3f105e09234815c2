//! What keeps a database from having a worker, and what the log says then.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

use crate::board::BOARDS;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    Missing,
    Closed,
    TooMany,
    NoProcess,
}

impl Obstacle {
    /// Logs it.
    pub(super) fn report(self, name: &str) {
        use PgSqlErrorCode::*;
        let (code, message, hint) = match self {
            Self::Missing => (
                ERRCODE_INVALID_CATALOG_NAME,
                format!("database \"{name}\" in notify_json.databases does not exist"),
                "Create it, or correct the setting and reload. Names are as in SQL: quote capitals."
                    .to_owned(),
            ),
            Self::Closed => (
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("database \"{name}\" in notify_json.databases accepts no connections"),
                format!("ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS true, or correct the setting."),
            ),
            Self::TooMany => (
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                format!("too many databases in notify_json.databases for \"{name}\""),
                format!("A server has workers for {BOARDS} databases, until it is started again."),
            ),
            Self::NoProcess => (
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                format!("no background worker is left for database \"{name}\""),
                "Raise max_worker_processes: one for the launcher and one for each database."
                    .to_owned(),
            ),
        };
        ErrorReport::new(code, message, "notify_json")
            .set_detail("Until it has a worker, transactions there ring the doorbell themselves.")
            .set_hint(hint)
            .report(PgLogLevel::WARNING);
    }
}
