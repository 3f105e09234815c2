//! What `notify_json.worker` shows.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern, pg_sys};

use crate::board;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn workers() -> TableIterator<
    'static,
    (
        name!(database, pg_sys::Oid),
        name!(pid, Option<i32>),
        name!(state, &'static str),
        name!(started_at, Option<TimestampWithTimeZone>),
        name!(rounds, i64),
        name!(doorbells, i64),
        name!(failures, i64),
        name!(last_round_at, Option<TimestampWithTimeZone>),
    ),
> {
    let shown = board::all().iter().filter_map(|board| {
        let status = &board.status;
        let state = match (status.pid(), board.is_wanted(), board.is_served()) {
            (Some(_), _, true) => "serving",
            (Some(_), true, false) => "starting",
            (Some(_), false, false) => "ending",
            (None, true, _) => "not running",
            (None, false, _) => return None,
        };
        Some((
            board.database(),
            status.pid(),
            state,
            status.started_at(),
            status.rounds(),
            status.doorbells(),
            status.failures(),
            status.last_round_at(),
        ))
    });
    TableIterator::new(shown)
}
