//! Row changes as events.

mod columns;
mod keys;
mod limits;
mod names;
mod operations;
mod partitions;
mod replication;
mod rights;
mod statements;
mod typed;
mod types;

use notify_json_tests::{Database, Server};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;
use tokio_postgres::types::FromSqlOwned;

/// A database whose channel `d` is durable, so that its events can be read in SQL.
struct Case {
    database: Database,
    client: Client,
    seen: i64,
}

impl Case {
    async fn new() -> Self {
        let database = Server::shared().database().await;
        let client = database.connect().await;
        let case = Self { database, client, seen: 0 };
        case.run("SELECT notify_json.create_channel('d')").await;
        case
    }

    /// With a table and how it is watched.
    async fn with(sql: &str) -> Self {
        let case = Self::new().await;
        case.run(sql).await;
        case
    }

    async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn value<T: FromSqlOwned>(&self, sql: &str) -> T {
        let row = self.client.query_one(sql, &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// The events since the last call, each without what differs from run to run.
    async fn events(&mut self) -> Vec<String> {
        let sql = "SELECT id, regexp_replace(payload::text, \
                   ',\"seq\":\\d+,\"xid\":\\d+,\"at\":\"[^\"]*Z\"}$', '}') \
                   FROM notify_json.event WHERE id > $1 ORDER BY id";
        let rows = self.client.query(sql, &[&self.seen]).await.unwrap();
        self.seen = rows.last().map_or(self.seen, |row| row.get(0));
        rows.iter().map(|row| row.get(1)).collect()
    }

    /// Runs a statement and compares its events.
    async fn gives(&mut self, sql: &str, expected: &[&str]) {
        self.run(sql).await;
        assert_eq!(self.events().await, expected, "{sql}");
    }

    /// The error of a statement, which must have a DETAIL and a HINT.
    async fn error(&self, sql: &str) -> DbError {
        let error = self.client.batch_execute(sql).await.expect_err(sql);
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone();
        assert!(error.detail().is_some() && error.hint().is_some(), "{sql}: {error:?}");
        error
    }

    async fn fails(&self, sql: &str, code: &str, message: &str) {
        let error = self.error(sql).await;
        assert_eq!((error.code().code(), error.message()), (code, message), "{sql}");
    }
}
