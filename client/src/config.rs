//! How a listener connects and what it accepts.

use std::str::FromStr;

use notify_json_wire::{DEFAULT_MAX_MESSAGE_BYTES, Limits};

#[cfg(doc)]
use crate::ErrorKind;
use crate::buffer::Bounds;
use crate::connect::Connector;
use crate::{Error, Listener};

/// How a [`Listener`] connects and what it accepts.
///
/// ```no_run
/// # use notify_json_client::ListenerConfig;
/// # async fn run() -> Result<(), notify_json_client::Error> {
/// let listener = "postgres://localhost/shop"
///     .parse::<ListenerConfig>()?
///     .max_message_bytes(64 << 20)
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    pub(crate) connector: Connector,
    pub(crate) limits: Limits,
    pub(crate) bounds: Bounds,
}

impl ListenerConfig {
    /// Connects as the PG* variables of libpq say, with the rules of [`connect`](crate::connect()).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if one of them is of no use.
    pub fn from_env() -> Result<Self, Error> {
        "".parse()
    }

    /// The longest JSON text accepted, in bytes. Default 16 MiB, as
    /// `notify_json.max_message_bytes` on the server. A longer one is an
    /// [`ErrorKind::Frame`] item.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_message_bytes = bytes;
        self
    }

    /// Messages that may wait for one subscriber, at least 1. Default 65,536. Beyond them the
    /// oldest give way to a [`Gap::Lagged`](crate::Gap::Lagged).
    pub fn buffer_messages(mut self, messages: usize) -> Self {
        self.bounds.messages = messages;
        self
    }

    /// Bytes that may wait for one subscriber. Default 64 MiB. Beyond them the oldest messages
    /// give way to a [`Gap::Lagged`](crate::Gap::Lagged); a single message is always kept.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.bounds.bytes = bytes;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ErrorKind::Connect`] with the cause as `source()`, or
    /// [`ErrorKind::Config`] if a certificate cannot be read.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(self) -> Result<Listener, Error> {
        Listener::from_config(self).await
    }
}

impl From<Connector> for ListenerConfig {
    fn from(connector: Connector) -> Self {
        Self {
            connector,
            limits: Limits { max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES },
            bounds: Bounds { messages: 65_536, bytes: 64 << 20 },
        }
    }
}

impl From<tokio_postgres::Config> for ListenerConfig {
    /// Takes what is set, and nothing from the environment. Keepalive, time limits and
    /// `application_name` have the defaults of [`connect`](crate::connect()) where they are not
    /// set. TLS trusts any certificate, since a `Config` does not say whom to trust.
    fn from(postgres: tokio_postgres::Config) -> Self {
        Connector::from(postgres).into()
    }
}

impl FromStr for ListenerConfig {
    type Err = Error;

    /// Reads a URL (`postgres://user@host/database`) or `key=value` pairs, with the rules of
    /// [`connect`](crate::connect()).
    fn from_str(connection: &str) -> Result<Self, Error> {
        Connector::parse(connection).map(Self::from)
    }
}
