//! Where to connect: `--url`, else `DATABASE_URL`, else the PG* variables of libpq.

use std::env;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

#[derive(Args)]
pub(crate) struct Connection {
    /// Server to connect to: postgres://user@host:port/database, or key=value pairs.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    url: Option<String>,
}

impl Connection {
    pub(crate) fn config(&self) -> Result<Config> {
        match &self.url {
            Some(url) => url.parse().context("--url or DATABASE_URL is not a connection string"),
            None => from_environment(),
        }
    }
}

/// Where Debian's and upstream's servers put their socket.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

fn from_environment() -> Result<Config> {
    let mut config = Config::new();
    let hosts = list("PGHOST")?;
    let addresses = list("PGHOSTADDR")?;
    if hosts.is_empty() && addresses.is_empty() {
        config.host(default_host());
    }
    for host in hosts {
        config.host(host);
    }
    for address in addresses {
        config.hostaddr(parse::<IpAddr>("PGHOSTADDR", &address)?);
    }
    for port in list("PGPORT")? {
        config.port(parse::<u16>("PGPORT", &port)?);
    }
    if let Some(user) = variable::<String>("PGUSER")? {
        config.user(user);
    }
    if let Some(password) = variable::<String>("PGPASSWORD")? {
        config.password(password);
    }
    if let Some(database) = variable::<String>("PGDATABASE")? {
        config.dbname(database);
    }
    if let Some(options) = variable::<String>("PGOPTIONS")? {
        config.options(options);
    }
    if let Some(name) = variable::<String>("PGAPPNAME")? {
        config.application_name(name);
    }
    if let Some(seconds) = variable::<u64>("PGCONNECT_TIMEOUT")? {
        config.connect_timeout(Duration::from_secs(seconds));
    }
    if let Some(mode) = variable::<String>("PGSSLMODE")? {
        config.ssl_mode(match mode.as_str() {
            "disable" => SslMode::Disable,
            "allow" | "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            _ => bail!("PGSSLMODE is {mode:?}; it can be disable, prefer or require"),
        });
    }
    if let Some(attributes) = variable::<String>("PGTARGETSESSIONATTRS")? {
        config.target_session_attrs(match attributes.as_str() {
            "any" => TargetSessionAttrs::Any,
            "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
            _ => bail!("PGTARGETSESSIONATTRS is {attributes:?}; it can be any or read-write"),
        });
    }
    Ok(config)
}

fn default_host() -> &'static str {
    SOCKET_DIRECTORIES
        .into_iter()
        .find(|directory| Path::new(directory).join(".s.PGSQL.5432").exists())
        .unwrap_or("localhost")
}

fn list(name: &str) -> Result<Vec<String>> {
    let value: Option<String> = variable(name)?;
    Ok(value.iter().flat_map(|list| list.split(',')).map(str::to_owned).collect())
}

fn variable<T: std::str::FromStr>(name: &str) -> Result<Option<T>> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => parse(name, &value).map(Some),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => bail!("{name} is not UTF-8"),
    }
}

fn parse<T: std::str::FromStr>(name: &str, value: &str) -> Result<T> {
    let kind = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
    value.parse().ok().with_context(|| format!("{name} is {value:?}, which is not of type {kind}"))
}
