//! The servers to try, in their order.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::parameters::Parameters;
use crate::Error;

/// Where Debian's and upstream's servers put their socket.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const DEFAULT_PORT: u16 = 5432;

/// A host, or the folder of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: Host,
    /// Saves looking the host up.
    address: Option<IpAddr>,
    port: u16,
}

impl Server {
    /// Whether it is a Unix socket.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.host, Host::Unix(_))
    }

    /// The addresses to try; `None` for a Unix socket.
    pub(super) async fn addresses(&self) -> io::Result<Vec<Option<IpAddr>>> {
        match (&self.host, self.address) {
            (Host::Unix(_), _) => Ok(vec![None]),
            (Host::Tcp(_), Some(address)) => Ok(vec![Some(address)]),
            (Host::Tcp(name), None) => {
                let found = tokio::net::lookup_host((name.as_str(), self.port)).await?;
                Ok(found.map(|address| Some(address.ip())).collect())
            }
        }
    }

    /// Completes a configuration that has no host yet.
    pub(super) fn configure(&self, base: &Config, address: Option<IpAddr>) -> Config {
        let mut config = base.clone();
        config.port(self.port);
        match &self.host {
            Host::Tcp(name) => config.host(name),
            // As in libpq, sslmode is not for Unix sockets.
            Host::Unix(folder) => config.host_path(folder).ssl_mode(SslMode::Disable),
        };
        if let Some(address) = address {
            config.hostaddr(address);
        }
        config
    }

    /// Host and port as the password file calls them.
    pub(super) fn passfile_key(&self) -> (&str, String) {
        let host = match &self.host {
            Host::Tcp(name) => name,
            Host::Unix(folder) => match folder.to_str() {
                Some(folder) if !SOCKET_FOLDERS.contains(&folder) => folder,
                _ => "localhost",
            },
        };
        (host, self.port.to_string())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Tcp(name) if name.contains(':') => write!(f, "[{name}]:{port}"),
            Host::Tcp(name) => write!(f, "{name}:{port}"),
            Host::Unix(folder) => write!(f, "{}/.s.PGSQL.{port}", folder.display()),
        }
    }
}

/// The servers of `host`, `hostaddr` and `port`, which are lists of one length; one port serves all.
pub(super) fn from_parameters(parameters: &Parameters) -> Result<Vec<Server>, Error> {
    let (hosts, addresses) = (parameters.list("host"), parameters.list("hostaddr"));
    let ports = parameters.list("port");
    let count = hosts.len().max(addresses.len()).max(1);
    for (name, values) in [("host", &hosts), ("hostaddr", &addresses), ("port", &ports)] {
        let one_for_all = name == "port" && values.len() == 1;
        if !values.is_empty() && values.len() != count && !one_for_all {
            let problem = format!("has {} entries for {count} servers", values.len());
            return Err(parameters.invalid(name, &problem));
        }
    }
    (0..count)
        .map(|index| {
            let port = match ports.get(index).or(ports.first()) {
                None | Some(&"") => DEFAULT_PORT,
                Some(port) => {
                    port.trim().parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                        parameters.invalid("port", "must be a number from 1 to 65535")
                    })?
                }
            };
            let address = match addresses.get(index) {
                None | Some(&"") => None,
                Some(address) => Some(
                    address
                        .parse::<IpAddr>()
                        .map_err(|_| parameters.invalid("hostaddr", "must be an IP address"))?,
                ),
            };
            let host = match (hosts.get(index), address) {
                (None | Some(&""), Some(address)) => Host::Tcp(address.to_string()),
                (None | Some(&""), None) => default_host(port),
                (Some(folder), _) if folder.starts_with('/') => Host::Unix(folder.into()),
                (Some(name), _) => Host::Tcp((*name).to_owned()),
            };
            Ok(Server { host, address, port })
        })
        .collect()
}

/// The servers of a configuration, which may differ in number from its ports.
pub(super) fn from_config(config: &Config) -> Vec<Server> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let ports = config.get_ports();
    (0..hosts.len().max(addresses.len()).max(1))
        .map(|index| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(DEFAULT_PORT);
            let address = addresses.get(index).copied();
            let host = hosts.get(index).cloned();
            let host = host.or_else(|| Some(Host::Tcp(address?.to_string())));
            Server { host: host.unwrap_or_else(|| default_host(port)), address, port }
        })
        .collect()
}

fn default_host(port: u16) -> Host {
    SOCKET_FOLDERS
        .map(Path::new)
        .into_iter()
        .find(|folder| folder.join(format!(".s.PGSQL.{port}")).exists())
        .map_or_else(|| Host::Tcp("localhost".into()), |folder| Host::Unix(folder.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::tests::gather;

    fn servers(connection: &str) -> Result<String, Error> {
        let servers = from_parameters(&gather(connection, &[])?)?;
        Ok(servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn lists_go_together() {
        for (connection, expected) in [
            ("host=a", "a:5432"),
            ("host=a,b port=1", "a:1 b:1"),
            ("host=a,b port=1,", "a:1 b:5432"),
            ("postgres://a:1,[::1]:2", "a:1 [::1]:2"),
            ("host=/run,b hostaddr=,127.0.0.1", "/run/.s.PGSQL.5432 b:5432"),
            ("hostaddr=::1,127.0.0.1 port=1", "[::1]:1 127.0.0.1:1"),
            ("port=1", "localhost:1"),
        ] {
            assert_eq!(servers(connection).unwrap(), expected, "{connection}");
        }
        for (connection, expected) in [
            ("host=a,b,c port=1,2", "parameter port (from the connection string) has 2 entries"),
            ("host=a port=0", "parameter port (from the connection string) must be a number"),
            ("host=a port=SECRET", "parameter port (from the connection string) must be a number"),
            ("hostaddr=SECRET", "parameter hostaddr (from the connection string) must be an IP"),
            ("host=a,b hostaddr=::1", "parameter hostaddr (from the connection string) has 1"),
        ] {
            let error = servers(connection).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_configuration_has_the_same_servers() {
        for text in ["host=a,b port=1,2", "host=/run port=1", "hostaddr=::1 port=1", "port=1"] {
            let from_config = from_config(&text.parse().unwrap());
            let from_parameters = from_parameters(&gather(text, &[]).unwrap()).unwrap();
            assert_eq!(from_config, from_parameters, "{text}");
        }
    }
}
