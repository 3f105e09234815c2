//! Contracts of channels: what breaks one is refused, and nothing of it is logged or sent.

mod changing;
mod command_line;
mod events;
mod hostile;
mod registering;

use notify_json_tests::{Database, Server};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;
use tokio_postgres::types::FromSqlOwned;

/// Orders with lines, whose ids begin with a letter.
const ORDER: &str = r##"{
    "type": "object",
    "required": ["id", "status"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "status": {"enum": ["open", "paid"]},
        "placed_at": {"type": "string", "format": "date-time"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "prices": {"type": "object", "additionalProperties": {"type": "number"}}
    },
    "$defs": {"line": {"type": "object", "properties": {"sku": {"type": "string", "pattern": "^[a-z]"}}}}
}"##;

/// A database with channels of both kinds that have this contract: `d` is durable, `l` is live.
async fn database() -> (Database, Client) {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    for (channel, durable) in [("d", true), ("l", false)] {
        let sql = format!(
            "SELECT notify_json.create_channel('{channel}', durable => {durable}, \
             schema => $schema${ORDER}$schema$)"
        );
        run(&client, &sql).await;
    }
    (database, client)
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn value<T: FromSqlOwned>(client: &Client, sql: &str) -> T {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// The error of a statement, which must have this SQLSTATE, a DETAIL and a HINT.
async fn refused(client: &Client, sql: &str, code: &str) -> DbError {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone();
    assert_eq!(error.code().code(), code, "{sql}: {error:?}");
    assert!(error.detail().is_some_and(|detail| detail.ends_with('.')), "{sql}: {error:?}");
    assert!(error.hint().is_some_and(|hint| hint.ends_with('.')), "{sql}: {error:?}");
    error
}

/// Whether a payload is taken on a channel.
async fn accepts(client: &Client, channel: &str, payload: &str) -> bool {
    let sql = format!("SELECT notify_json('{channel}', '{payload}')");
    match client.batch_execute(&sql).await {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.code().map(|code| code.code()), Some("23514"), "{sql}: {error:?}");
            false
        }
    }
}
