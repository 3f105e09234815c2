//! Connections with the rules of libpq.

mod connection_string;
mod parameters;
mod passfile;
#[cfg(not(feature = "tls"))]
mod plain;
#[cfg(feature = "tls")]
mod rustls;
mod servers;
mod service;
mod settings;
mod tls;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{LoadBalanceHosts, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Socket};

use self::parameters::{Parameters, Variables, home};
#[cfg(not(feature = "tls"))]
use self::plain as encryption;
#[cfg(feature = "tls")]
use self::rustls as encryption;
use self::servers::Server;
use self::tls::Tls;
use crate::{Error, ErrorKind};

/// Connects with the rules of libpq, for publishing and other queries. As with `tokio_postgres`,
/// the second part is the connection itself, which ends with the client: spawn it.
///
/// ```no_run
/// # async fn run() -> Result<(), notify_json_client::Error> {
/// let (client, connection) = notify_json_client::connect("postgres://localhost/shop").await?;
/// tokio::spawn(connection);
/// notify_json_client::publish(&client, "orders", &["paid"]).await?;
/// # Ok(())
/// # }
/// ```
///
/// `connection` is a URL (`postgres://user@host:port/database?sslmode=verify-full`) or `key=value`
/// pairs. What it leaves open is taken from a service file (`service`), then from the PG*
/// variables of the environment, then from `~/.pgpass`, then from libpq's defaults, so that an
/// empty string connects as `psql` does. Several hosts are tried in order.
///
/// | parameter | default | meaning |
/// |---|---|---|
/// | `sslmode` | `prefer` | `disable`, `prefer` (also `allow`), `require`, `verify-ca`, `verify-full` |
/// | `sslrootcert` | `~/.postgresql/root.crt` | file of trusted certificates, or `system` |
/// | `sslcert`, `sslkey` | `~/.postgresql/postgresql.crt`, `.key` | the client's certificate |
/// | `target_session_attrs` | `any` | `read-write` passes over standbys |
/// | `connect_timeout` | 10 | seconds for each address of each host; 0 waits for ever |
/// | `keepalives_idle`, `_interval`, `_count` | 5, 3, 3 | seconds, seconds and probes until a dead peer is found |
/// | `tcp_user_timeout` | 15000 | milliseconds that sent data may stay unacknowledged; 0 leaves it to the system |
/// | `application_name` | `notify_json` | |
///
/// # Errors
/// [`ErrorKind::Config`] if a parameter is unknown or of no use, [`ErrorKind::Connect`] with the
/// cause as `source()`; from the connection [`ErrorKind::Lost`] if it is lost. No error shows
/// a password.
///
/// # Cancel safety
/// Dropping the future, or the connection, closes the connection.
pub async fn connect(
    connection: &str,
) -> Result<(Client, impl Future<Output = Result<(), Error>> + Send + use<>), Error> {
    let (client, connection) = Connector::parse(connection)?.connect().await?;
    let lost = |error| Error::postgres(ErrorKind::Lost, "connection lost", error);
    Ok((client, async move { connection.await.map_err(lost) }))
}

/// The one type of connection, encrypted or not.
pub(crate) type Connection = tokio_postgres::Connection<Socket, encryption::Stream>;

/// Makes connections. `Debug` does not show the password, since that of [`Config`] does not.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// All but the servers.
    config: Config,
    servers: Vec<Server>,
    tls: Tls,
    passfile: Option<PathBuf>,
    /// For each address.
    pub(crate) timeout: Option<Duration>,
}

impl Connector {
    /// Reads a URL or `key=value` pairs; the environment and files say the rest.
    pub(crate) fn parse(connection: &str) -> Result<Self, Error> {
        Self::with_variables(connection, &|name| match name {
            // It also knows the home of a user without the variable.
            "HOME" => std::env::home_dir().map(OsString::from),
            name => std::env::var_os(name),
        })
    }

    fn with_variables(connection: &str, variables: Variables<'_>) -> Result<Self, Error> {
        let parameters = Parameters::gather(connection, variables)?;
        let servers = servers::from_parameters(&parameters)?;
        // As in libpq, what is said about TLS is not for Unix sockets, be it of use or not.
        let tls = if servers.iter().all(Server::is_local) {
            Tls::with_anyone(SslMode::Disable, SslNegotiation::Postgres)
        } else {
            Tls::from_parameters(&parameters, variables)?
        };
        let mut config = settings::config(&parameters)?;
        config.ssl_mode(tls.mode).ssl_negotiation(tls.negotiation);
        let default_passfile = || Some(home(variables)?.join(".pgpass"));
        Ok(Self {
            config,
            servers,
            tls,
            passfile: parameters.path("passfile").or_else(default_passfile),
            timeout: settings::timeout(&parameters)?,
        })
    }

    /// Connects to the first server that will have us.
    pub(crate) async fn connect(&self) -> Result<(Client, Connection), Error> {
        let tls = encryption::connector(&self.tls)?;
        let mut servers: Vec<&Server> = self.servers.iter().collect();
        if self.config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            fastrand::shuffle(&mut servers);
        }
        let mut result = Err(Error::new(ErrorKind::Config, "there is no host to connect to"));
        for server in servers {
            result = self.connect_to(server, &tls).await;
            match &result {
                Err(error) if may_work_elsewhere(error) => {
                    let error = error as &dyn std::error::Error;
                    tracing::debug!(%server, error, "server passed over");
                }
                _ => break,
            }
        }
        result
    }

    /// Connects to the first address of a server that will have us.
    async fn connect_to(
        &self,
        server: &Server,
        tls: &encryption::Connector,
    ) -> Result<(Client, Connection), Error> {
        let failed = || Error::new(ErrorKind::Connect, format!("cannot connect to {server}"));
        let addresses = self.in_time(server, server.addresses()).await?;
        let mut result = Err(failed().caused_by("the host has no address"));
        for address in addresses.map_err(|error| failed().caused_by(error))? {
            let mut config = server.configure(&self.config, address);
            if let Some(password) = self.password(server) {
                config.password(password);
            }
            result = self.in_time(server, attempt(config, tls)).await.and_then(|connected| {
                let text = format!("cannot connect to {server}");
                connected.map_err(|error| Error::postgres(ErrorKind::Connect, &text, error))
            });
            if !result.as_ref().is_err_and(may_work_elsewhere) {
                break;
            }
        }
        result
    }

    async fn in_time<T>(&self, server: &Server, work: impl Future<Output = T>) -> Result<T, Error> {
        let Some(timeout) = self.timeout else {
            return Ok(work.await);
        };
        tokio::time::timeout(timeout, work).await.map_err(|_| {
            let text = format!("cannot connect to {server}: no answer in {timeout:?}");
            Error::new(ErrorKind::Connect, text)
        })
    }

    /// The password that the password file has for a server, if none is given otherwise.
    fn password(&self, server: &Server) -> Option<Vec<u8>> {
        if self.config.get_password().is_some() {
            return None;
        }
        let (host, port) = server.passfile_key();
        let (database, user) = (self.config.get_dbname()?, self.config.get_user()?);
        passfile::password(self.passfile.as_ref()?, [host, &port, database, user])
    }
}

impl From<Config> for Connector {
    /// Takes what the configuration says, and nothing from the environment.
    fn from(config: Config) -> Self {
        let tls = Tls::with_anyone(config.get_ssl_mode(), config.get_ssl_negotiation());
        let timeout = config.get_connect_timeout().copied().or(Some(settings::CONNECT_TIMEOUT));
        let servers = servers::from_config(&config);
        Self { config: settings::without_servers(&config), servers, tls, passfile: None, timeout }
    }
}

/// One attempt at one address. With sslmode=prefer it is made again in plain text if TLS is what
/// it failed for, as libpq does.
#[cfg_attr(not(feature = "tls"), allow(clippy::clone_on_copy))]
async fn attempt(
    mut config: Config,
    tls: &encryption::Connector,
) -> Result<(Client, Connection), tokio_postgres::Error> {
    let error = match config.connect(tls.clone()).await {
        Err(error) if config.get_ssl_mode() == SslMode::Prefer => error,
        result => return result,
    };
    // pg_hba.conf may admit plain text only.
    let refused = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    if !refused && !encryption::is_handshake_error(&error) {
        return Err(error);
    }
    config.ssl_mode(SslMode::Disable);
    config.connect(tls.clone()).await.map_err(|_| error)
}

/// Whether another server is worth a try. One that answers with an error is taken at its word,
/// as by libpq, unless it is only starting up or shutting down.
fn may_work_elsewhere(error: &Error) -> bool {
    error.code().is_none_or(|code| *code == SqlState::CANNOT_CONNECT_NOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment of these variables alone.
    pub(super) fn lookup(environment: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| {
            let value = environment.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| OsString::from(value))
        }
    }

    pub(super) fn gather(
        connection: &str,
        environment: &[(&str, &str)],
    ) -> Result<Parameters, Error> {
        Parameters::gather(connection, &lookup(environment))
    }

    #[test]
    fn the_password_is_in_no_debug_text() {
        for text in ["postgres://u:SECRET@h/d", "host=h password=SECRET user=u"] {
            let connector = Connector::with_variables(text, &lookup(&[])).unwrap();
            assert_eq!(connector.config.get_password(), Some(&b"SECRET"[..]));
            assert!(!format!("{connector:?}").contains("SECRET"));
            let connector = Connector::from(text.parse::<Config>().unwrap());
            assert!(!format!("{connector:?}").contains("SECRET"));
        }
    }

    #[test]
    fn tls_is_not_for_unix_sockets() {
        for (text, works) in [("host=/run", true), ("host=/run,db", false)] {
            let text = format!("{text} sslmode=verify-full");
            assert_eq!(Connector::with_variables(&text, &lookup(&[])).is_ok(), works, "{text}");
        }
    }

    #[test]
    fn the_password_file_is_for_whom_no_password_is_given() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".pgpass");
        std::fs::write(&file, "b:5433:d:u:for b\nlocalhost:*:*:u:local\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let home = folder.path().to_str().unwrap();
        let passwords = |connection: &str, environment: &[(&str, &str)]| -> Vec<_> {
            let environment = [&[("HOME", home)], environment].concat();
            let connector = Connector::with_variables(connection, &lookup(&environment)).unwrap();
            let of = |server| connector.password(server).map(|p| String::from_utf8(p).unwrap());
            connector.servers.iter().map(of).collect()
        };
        let for_b = Some("for b".to_owned());
        assert_eq!(passwords("postgres://u@a,b:5433/d", &[]), [None, for_b.clone()]);
        let environment =
            [("PGHOST", "b"), ("PGPORT", "5433"), ("PGUSER", "u"), ("PGDATABASE", "d")];
        assert_eq!(passwords("", &environment), [for_b]);
        assert_eq!(passwords("password=x", &environment), [None]);
        assert_eq!(passwords("passfile=/none", &environment), [None]);
        let local = Some("local".to_owned());
        assert_eq!(passwords("host=/var/run/postgresql user=u", &[]), [local]);
        assert_eq!(passwords("host=/elsewhere user=u", &[]), [None]);
    }
}
