//! How a listener connects and what it accepts.

use std::str::FromStr;
use std::time::Duration;

use notify_json_wire::{DEFAULT_MAX_MESSAGE_BYTES, Limits};

#[cfg(doc)]
use crate::ErrorKind;
use crate::backoff::Backoff;
use crate::connect::Connector;
use crate::health::Heartbeat;
use crate::{Error, Listener, log};

/// What may wait for one subscriber, and what happens beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages that may wait. Default 65,536.
    pub messages: usize,
    /// Bytes of memory that waiting messages may hold. Default 64 MiB. One message may always wait,
    /// however large.
    pub bytes: usize,
    /// What happens to a message beyond them. Default [`Overflow::DropOldest`].
    pub overflow: Overflow,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { messages: 65_536, bytes: 64 << 20, overflow: Overflow::DropOldest }
    }
}

/// What happens when a subscriber is slower than its [`Bounds`] are wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest messages give way to a [`Gap::Lagged`](crate::Gap::Lagged) in their place.
    DropOldest,
    /// The subscription yields what waits, then an [`ErrorKind::Overflow`] error, and ends.
    Close,
}

/// As good as for ever, and still a time that can be added to another.
const LONGEST: Duration = Duration::from_secs(60 * 60 * 24 * 365);

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
    pub(crate) backoff: Backoff,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) wait_for_server: bool,
    pub(crate) log: log::Settings,
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

    /// What may wait for a subscriber, unless
    /// [`subscribe_bounded`](Listener::subscribe_bounded) says otherwise.
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The delays before connecting again after a loss: each is random, up to a bound that starts
    /// at `min` and doubles up to `max`. Default 100 ms and 30 s.
    pub fn reconnect_delay(mut self, min: Duration, max: Duration) -> Self {
        (self.backoff.min_delay, self.backoff.max_delay) = (min.min(max), max.min(LONGEST));
        self
    }

    /// Attempts to connect again after a loss, before every subscription ends with the last error.
    /// Default `None`: for ever.
    pub fn reconnect_attempts(mut self, attempts: Option<u32>) -> Self {
        self.backoff.max_attempts = attempts;
        self
    }

    /// How often the server is asked whether it still listens for us, and how long it may stay
    /// silent then before the connection counts as lost. Default every 10 s and 5 s; at least 1 ms,
    /// and at most a year.
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        let interval = interval.clamp(Duration::from_millis(1), LONGEST);
        self.heartbeat = Heartbeat { interval, timeout: timeout.min(LONGEST) };
        self
    }

    /// How long connecting to one address of one host may take. Default 10 s, or what the parameter
    /// `connect_timeout` says.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connector.timeout = Some(timeout);
        self
    }

    /// Whether [`connect`](Self::connect) waits, with the delays of a reconnect, for a server that
    /// cannot be reached or refuses us. Default `false`: it fails at once with the cause, as it
    /// always does for [`ErrorKind::Config`].
    pub fn wait_for_server(mut self, wait: bool) -> Self {
        self.wait_for_server = wait;
        self
    }

    /// How long a consumer of a durable channel stays ours without a sign of life, and so how long
    /// the next one waits if this process dies. Default 6 s; signs are given three times as often.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.log.lease = lease.clamp(Duration::from_millis(100), LONGEST);
        self
    }

    /// Events of a durable channel read at once, by number and by bytes of JSON text. Two such pages
    /// may wait for the program. Default 1,000 and 8 MiB; one event is always read, however large.
    pub fn page(mut self, events: u32, bytes: usize) -> Self {
        (self.log.page_events, self.log.page_bytes) = (events.max(1), bytes);
        self
    }

    /// How often a durable channel is looked at even if nobody rang. Default 5 s.
    pub fn look_every(mut self, interval: Duration) -> Self {
        self.log.look_every = interval.min(LONGEST);
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// [`ErrorKind::Connect`] with the cause as `source()`; [`ErrorKind::Config`] if a certificate
    /// cannot be read; [`ErrorKind::Unsupported`] for a standby or a pooler in transaction mode.
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
            bounds: Bounds::default(),
            backoff: Backoff {
                min_delay: Duration::from_millis(100),
                max_delay: Duration::from_secs(30),
                max_attempts: None,
            },
            heartbeat: Heartbeat {
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(5),
            },
            wait_for_server: false,
            log: log::Settings::default(),
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
