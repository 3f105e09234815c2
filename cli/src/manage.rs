//! `notify-json channels`, `consumers`, `seek` and `prune`

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::connection::{Connection, connect};

/// Print the channels that have a policy, one JSON object a line.
#[derive(Args)]
pub(crate) struct Channels {
    #[command(flatten)]
    connection: Connection,
}

/// Print the consumers of durable channels and how far they are behind, one JSON object a line.
#[derive(Args)]
pub(crate) struct Consumers {
    #[command(flatten)]
    connection: Connection,
    /// Only those of this channel.
    channel: Option<String>,
}

/// Move a consumer to another place in the log of its channel.
///
/// Whoever holds the consumer goes on from there.
#[derive(Args)]
pub(crate) struct Seek {
    #[command(flatten)]
    connection: Connection,
    channel: String,
    consumer: String,
    /// earliest, latest, or a time such as '2026-11-23 12:00 UTC'.
    to: String,
}

/// Remove the events that are older than the retention of their channel.
#[derive(Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    connection: Connection,
}

impl Channels {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let sql = "SELECT to_json(c)::text FROM notify_json.channels AS c ORDER BY name";
        print(query(&self.connection, sql, &[]).await?)
    }
}

impl Consumers {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let sql = "SELECT to_json(c)::text FROM notify_json.consumers AS c \
                   WHERE channel = coalesce($1, channel) ORDER BY channel, consumer";
        let channel: Parameter<'_> = (&self.channel, Type::TEXT);
        print(query(&self.connection, sql, &[channel]).await?)
    }
}

impl Seek {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let sql = "SELECT notify_json.seek($1, $2, $3)::text";
        let parameters: [Parameter<'_>; 3] =
            [(&self.consumer, Type::TEXT), (&self.channel, Type::TEXT), (&self.to, Type::TEXT)];
        query(&self.connection, sql, &parameters).await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Prune {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let sql = "SELECT notify_json.prune()";
        let mut total = 0;
        loop {
            let rows = query(&self.connection, sql, &[]).await?;
            match rows.first().context("the server answers with a row")?.try_get::<_, i64>(0)? {
                0 => break,
                removed => total += removed,
            }
        }
        writeln!(io::stdout(), "{}", json!({"removed": total}))?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Runs a query in a connection of its own.
pub(crate) async fn query(
    connection: &Connection,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Row>> {
    let (client, connection) = connect(connection.string()).await?;
    let rows = client.query_typed(sql, parameters).await;
    let rows = rows.map_err(explained)?;
    drop(client);
    connection.await??;
    Ok(rows)
}

/// What the server says, with its detail and hint, or what to do where it does not say that.
fn explained(error: tokio_postgres::Error) -> anyhow::Error {
    let Some(db) = error.as_db_error() else { return error.into() };
    let hint = match db.code().code() {
        "3F000" | "42P01" | "42883" => {
            Some("The database lacks the extension: CREATE EXTENSION notify_json")
        }
        _ => db.hint(),
    };
    let parts = [Some(db.message()), db.detail(), hint];
    anyhow::anyhow!(parts.into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

fn print(rows: Vec<Row>) -> Result<ExitCode> {
    let mut out = io::stdout().lock();
    for row in rows {
        let line: &str = row.try_get(0).context("the server answers with JSON")?;
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
