//! One round of a worker: a transaction that rings the doorbells of channels with news.

use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use pgrx::pg_sys::BackendState;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::{PgLogLevel, PgTryBuilder, pg_sys};

use crate::channel::Channel;
use crate::news::News;
use crate::status::Status;
use crate::{doorbell, policy};

/// Rings what there is news of and somebody attends; `false` if that fails.
pub(super) fn run(status: &Status, news: &News, retry_in: Duration) -> bool {
    let failure = PgTryBuilder::new(AssertUnwindSafe(|| {
        report(BackendState::STATE_RUNNING, c"ringing doorbells");
        status.count_round(ring(news));
        None
    }))
    .catch_others(Some)
    .execute();
    if let Some(failure) = failure {
        // SAFETY: the round may have left a transaction.
        unsafe { pg_sys::AbortCurrentTransaction() };
        status.count_failure();
        warn(failure, retry_in);
        return false;
    }
    report(BackendState::STATE_IDLE, c"waiting for commits");
    true
}

/// Returns how many doorbells it has rung.
fn ring(news: &News) -> usize {
    // SAFETY: this process is connected and in no transaction.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
    }
    let rung = doorbell::ring_where_attended(&channels(news));
    // SAFETY: the transaction was begun above.
    unsafe {
        pg_sys::CommitTransactionCommand();
        pg_sys::pgstat_report_stat(false);
    }
    rung
}

fn channels(news: &News) -> Vec<Channel> {
    let durable = || policy::durable(|channel| news.is_of(channel));
    let mut channels = durable().unwrap_or_else(|error| error.raise());
    // A transaction tells its news just before it tells that it has changed channels.
    if News::of(&channels) != *news {
        policy::forget();
        channels = durable().unwrap_or_else(|error| error.raise());
    }
    channels
}

/// Shows in `pg_stat_activity` what the worker does.
fn report(state: BackendState::Type, activity: &CStr) {
    // SAFETY: the string outlives the call, which copies it.
    unsafe { pg_sys::pgstat_report_activity(state, activity.as_ptr()) };
}

fn warn(error: CaughtError, retry_in: Duration) {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic { ereport: report, .. }) = error;
    let message = format!("doorbells were not rung: {}", report.message());
    let detail = report.detail().unwrap_or("The events are in the log; only the sign is late.");
    ErrorReport::new(report.sql_error_code(), message, "notify_json")
        .set_detail(detail)
        .set_hint(format!(
            "The next try is in {retry_in:?}. Consumers look by themselves every few seconds."
        ))
        .report(PgLogLevel::WARNING);
}
