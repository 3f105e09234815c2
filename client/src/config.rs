//! How a listener connects and what it accepts.

use std::str::FromStr;

use notify_json_wire::{DEFAULT_MAX_MESSAGE_BYTES, Limits};

use crate::buffer::Bounds;
use crate::{Error, ErrorKind, Listener};

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
    pub(crate) postgres: tokio_postgres::Config,
    pub(crate) limits: Limits,
    pub(crate) bounds: Bounds,
}

impl ListenerConfig {
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
    /// [`ErrorKind::Connect`] with the cause as `source()`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(self) -> Result<Listener, Error> {
        Listener::from_config(self).await
    }
}

impl From<tokio_postgres::Config> for ListenerConfig {
    fn from(mut postgres: tokio_postgres::Config) -> Self {
        if postgres.get_application_name().is_none() {
            postgres.application_name("notify_json");
        }
        Self {
            postgres,
            limits: Limits { max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES },
            bounds: Bounds { messages: 65_536, bytes: 64 << 20 },
        }
    }
}

impl FromStr for ListenerConfig {
    type Err = Error;

    /// Reads a URL (`postgres://user@host/database`) or `key=value` pairs, as libpq takes them.
    fn from_str(connection: &str) -> Result<Self, Error> {
        connection.parse::<tokio_postgres::Config>().map(Self::from).map_err(|error| {
            Error::postgres(ErrorKind::Config, "connection string is not one", error)
        })
    }
}
