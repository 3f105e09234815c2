//! Durable channels in SQL: what is published is kept, and read once by each consumer.

mod consumers;
mod dropping;
mod holders;
mod interleavings;
mod policy;
mod publishing;
mod reading;
mod refusals;
mod retention;
mod rights;
mod worker;

use notify_json_tests::{Database, Server};
use tokio_postgres::error::DbError;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, GenericClient, Row};

/// A new database whose channel `d` is durable.
async fn database() -> Database {
    let database = Server::shared().database().await;
    database.execute("SELECT notify_json.create_channel('d')").await;
    database
}

/// The one value of a query.
async fn value<T: FromSqlOwned>(client: &impl GenericClient, sql: &str) -> T {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// The first column of a query.
async fn column<T: FromSqlOwned>(client: &impl GenericClient, sql: &str) -> Vec<T> {
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Publishes on channel `d` and returns the id.
async fn publish(client: &impl GenericClient, payload: &str) -> i64 {
    value(client, &format!("SELECT notify_json('d', '{payload}')")).await
}

/// The error of a statement, which must have a SQLSTATE, a DETAIL and a HINT.
async fn refused(client: &Client, sql: &str, code: &str) -> DbError {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone();
    assert_eq!(error.code().code(), code, "{sql}: {error:?}");
    let is_sentence = |text: Option<&str>| text.is_some_and(|text| text.ends_with(['.', ';', '?']));
    assert!(is_sentence(error.detail()), "{sql}: {error:?}");
    assert!(error.hint().is_some(), "{sql}: {error:?}");
    error
}

/// Waits until a query says true.
async fn until(client: &Client, sql: &str) {
    while !value::<bool>(client, sql).await {
        tokio::task::yield_now().await;
    }
}

/// The process of a session, to be found in the server's views.
pub(super) async fn pid(client: &Client) -> i32 {
    value(client, "SELECT pg_backend_pid()").await
}

/// Waits until a session waits for a lock.
pub(super) async fn until_blocked(client: &Client, pid: i32) {
    until(client, &format!("SELECT cardinality(pg_blocking_pids({pid})) > 0")).await;
}

/// A reader of channel `d` that keeps its position itself.
#[derive(Clone, Debug)]
struct Reader {
    window: String,
    after: i64,
}

impl Reader {
    async fn start(client: &impl GenericClient, since: &str) -> Self {
        let sql = "SELECT * FROM notify_json.start('d', $1)";
        let row = client.query_one(sql, &[&since]).await.unwrap();
        Self { window: row.get("window"), after: row.get("after") }
    }

    /// Up to so many of the next events: id and payload.
    async fn page(&mut self, client: &impl GenericClient, max_events: i32) -> Vec<(i64, String)> {
        let sql = "SELECT * FROM notify_json.read('d', $1, $2, $3, 1000000000, 1000000000)";
        let rows = client.query(sql, &[&self.window, &self.after, &max_events]).await.unwrap();
        let (header, events) = rows.split_first().expect("a header");
        let window: String = header.get("window");
        if window != self.window {
            self.after = 0;
        }
        self.window = window;
        let event = |row: &Row| (row.get("id"), row.get("payload"));
        let events: Vec<(i64, String)> = events.iter().map(event).collect();
        self.after = events.last().map_or(self.after, |event| event.0);
        events
    }

    /// The payloads of all that can be read now.
    async fn drain(&mut self, client: &impl GenericClient, page: i32) -> Vec<String> {
        let mut payloads = Vec::new();
        loop {
            let events = self.page(client, page).await;
            if events.is_empty() {
                return payloads;
            }
            payloads.extend(events.into_iter().map(|event| event.1));
        }
    }
}
