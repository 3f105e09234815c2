//! Where to connect: `--url`, else `DATABASE_URL`, else what the environment says.

use anyhow::Result;
use clap::Args;
use notify_json_client::Error;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

#[derive(Args)]
pub(crate) struct Connection {
    /// Server to connect to: postgres://user@host:port/database, or key=value pairs. What it
    /// leaves open comes from the PG* variables, a service file and ~/.pgpass, as for psql.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    url: Option<String>,
}

impl Connection {
    /// The connection string; an empty one leaves everything to the environment.
    pub(crate) fn string(&self) -> &str {
        self.url.as_deref().unwrap_or_default()
    }
}

/// Connects to call functions of the extension. Each call is whole by itself; at the level that the
/// database or the role may have as its default it could fail for no reason.
pub(crate) async fn connect(string: &str) -> Result<(Client, JoinHandle<Result<(), Error>>)> {
    let (client, connection) = notify_json_client::connect(string).await?;
    let connection = tokio::spawn(connection);
    let level = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED";
    client.batch_execute(level).await?;
    Ok((client, connection))
}
