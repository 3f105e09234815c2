//! Where to connect: `--url`, else `DATABASE_URL`, else what the environment says.

use clap::Args;

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
