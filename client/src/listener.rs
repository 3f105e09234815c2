//! One connection that listens, and the subscriptions that share it.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::sync::Arc;

use tokio::sync::watch;

use crate::attempt::connect;
use crate::counters::Counts;
use crate::router::Registration;
use crate::session::{self, Shared};
use crate::state::State;
use crate::subscription::Membership;
use crate::{
    Bounds, Consumer, Error, ErrorKind, FromMessage, ListenerConfig, Replay, Since, Subscription,
    channel,
};

/// A connection of its own that listens to any number of channels.
///
/// Its task reads the connection at all times, whatever the subscribers do, and makes a new one
/// when it is lost. It ends with [`shutdown`](Self::shutdown), or when the listener and all of its
/// subscriptions are dropped.
#[derive(Debug)]
pub struct Listener {
    handle: Arc<Handle>,
    config: Arc<ListenerConfig>,
}

/// Ends the session when the last one that could use it is gone.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Listener {
    /// Connects with defaults to a URL (`postgres://user@host/database`) or `key=value` pairs.
    /// [`ListenerConfig`] has the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) or [`ErrorKind::Connect`](crate::ErrorKind::Connect), with the cause as `source()`;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a standby or a pooler in transaction mode.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(connection: &str) -> Result<Self, Error> {
        Self::from_config(connection.parse()?).await
    }

    pub(crate) async fn from_config(config: ListenerConfig) -> Result<Self, Error> {
        let mut delays = config.wait_for_server.then(|| config.backoff.delays());
        let connected = loop {
            match (connect(&config).await, delays.as_mut().and_then(Iterator::next)) {
                (Ok(connected), _) => break connected,
                (Err(error), None) => return Err(error),
                // Waiting does not mend it.
                (Err(error), _) if error.kind() == ErrorKind::Config => return Err(error),
                (Err(error), Some(retry_in)) => {
                    tracing::warn!(
                        error = &error as &dyn StdError,
                        ?retry_in,
                        "cannot connect yet"
                    );
                    tokio::time::sleep(retry_in).await;
                }
            }
        };
        tracing::info!(backend_pid = connected.backend_pid, "connected");
        let (shared, config) = (Shared::new(&connected), Arc::new(config));
        tokio::spawn(session::run(config.clone(), shared.clone(), connected));
        Ok(Self { handle: Arc::new(Handle { shared }), config })
    }

    /// Subscribes to a channel. Returns once `LISTEN` is committed: what is sent from then on
    /// arrives, or a [`Gap`](crate::Gap) says that it may not have. While the connection is lost
    /// it waits for the next one.
    ///
    /// # Errors
    /// [`ErrorKind::Channel`](crate::ErrorKind::Channel) for a name PostgreSQL would refuse or cut, [`ErrorKind::Postgres`](crate::ErrorKind::Postgres)
    /// if the server refuses `LISTEN`, [`ErrorKind::Closed`](crate::ErrorKind::Closed) after `shutdown`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no `LISTEN` behind.
    pub async fn subscribe<T: FromMessage>(&self, channel: &str) -> Result<Subscription<T>, Error> {
        self.subscribe_many([channel]).await
    }

    /// Subscribes to several channels at once. Their messages come in the order in which they
    /// were committed. Everything else is as for [`subscribe`](Self::subscribe).
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe); then none of the channels is subscribed to.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no `LISTEN` behind.
    pub async fn subscribe_many<T: FromMessage>(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Subscription<T>, Error> {
        self.subscribe_bounded(channels, self.config.bounds).await
    }

    /// Subscribes with bounds of its own. Everything else is as for
    /// [`subscribe_many`](Self::subscribe_many).
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe); then none of the channels is subscribed to.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no `LISTEN` behind.
    pub async fn subscribe_bounded<T: FromMessage>(
        &self,
        channels: impl IntoIterator<Item = impl AsRef<str>>,
        bounds: Bounds,
    ) -> Result<Subscription<T>, Error> {
        let channels = channels
            .into_iter()
            .map(|name| channel::check(name.as_ref()))
            .collect::<Result<BTreeSet<_>, _>>()?;
        if channels.is_empty() {
            return Err(Error::new(ErrorKind::Channel, "no channel to subscribe to is named"));
        }
        let (membership, mut states) = Membership::join(self.handle.clone(), channels, bounds)?;
        while !membership.establish() {
            for state in &mut states {
                self.committed(state).await?;
            }
        }
        Ok(Subscription::new(membership))
    }

    /// The events of a durable channel for a named consumer: first what it has not acknowledged
    /// yet, then what is committed from now on. A new consumer begins at the oldest event there is.
    ///
    /// One client at a time holds a consumer, by a lease that it renews; others wait for it.
    ///
    /// ```no_run
    /// # use notify_json_client::{Error, Event, Listener};
    /// # async fn run(listener: Listener, mut client: tokio_postgres::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut orders = listener.consume::<serde_json::Value>("orders", "billing").await?;
    /// while let Some(event) = orders.recv().await {
    ///     match event? {
    ///         Event::Message(order) => {
    ///             let transaction = client.transaction().await?;
    ///             transaction.execute("INSERT INTO invoice (order_event) VALUES ($1)", &[&order.id]).await?;
    ///             order.ack_in(&transaction).await?;
    ///             transaction.commit().await?;
    ///         }
    ///         Event::Gap(gap) => eprintln!("orders were not billed: {gap}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Channel`](crate::ErrorKind::Channel) for a bad name, [`ErrorKind::Postgres`](crate::ErrorKind::Postgres)
    /// if the channel is unknown (SQLSTATE `42704`) or the role may not read it (`42501`),
    /// [`ErrorKind::Connect`](crate::ErrorKind::Connect) if the connection cannot be made,
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) after `shutdown`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection and lets the consumer go.
    pub async fn consume<T: FromMessage + 'static>(
        &self,
        channel: &str,
        consumer: &str,
    ) -> Result<Consumer<T>, Error> {
        let (handle, config) = (self.handle.clone(), self.config.clone());
        Consumer::consume(handle, config, channel::check(channel)?, consumer.into()).await
    }

    /// The events of a durable channel for a reader without a name, which the server does not
    /// remember: the program may, by the [`Position`](crate::Position) of the last event it took.
    ///
    /// Where retention has removed events before it came to them it yields
    /// [`Gap::Expired`](crate::Gap::Expired), and where the server was restarted or replaced
    /// [`Gap::Restarted`](crate::Gap::Restarted); it goes on after either.
    ///
    /// # Errors
    /// As [`consume`](Self::consume).
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn replay<T: FromMessage + 'static>(
        &self,
        channel: &str,
        since: impl Into<Since>,
    ) -> Result<Replay<T>, Error> {
        let (handle, config) = (self.handle.clone(), self.config.clone());
        Replay::replay(handle, config, channel::check(channel)?, since.into()).await
    }

    async fn committed(&self, state: &mut watch::Receiver<Registration>) -> Result<(), Error> {
        let settled = state
            .wait_for(|state| matches!(state, Registration::Committed | Registration::Failed(_)))
            .await;
        match settled.as_deref() {
            Ok(Registration::Failed(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(self.handle.shared.router().closed().unwrap_or_else(Error::closed)),
        }
    }

    /// What the connection is doing, now and whenever it changes.
    ///
    /// ```no_run
    /// # use notify_json_client::{Listener, State};
    /// # async fn run(listener: Listener) {
    /// let mut state = listener.state();
    /// while state.changed().await.is_ok() {
    ///     if let State::Waiting { error, retry_in, .. } = &*state.borrow_and_update() {
    ///         eprintln!("{error}; trying again in {retry_in:?}");
    ///     }
    /// }
    /// # }
    /// ```
    pub fn state(&self) -> watch::Receiver<State> {
        self.handle.shared.state.subscribe()
    }

    /// What has happened so far, in numbers.
    pub fn counts(&self) -> Counts {
        self.handle.shared.counters.counts()
    }

    /// The channels that the server says this connection listens to, for diagnosis.
    ///
    /// # Errors
    /// [`ErrorKind::Connect`](crate::ErrorKind::Connect) while there is no connection, [`ErrorKind::Lost`](crate::ErrorKind::Lost) if it is lost.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn listening_channels(&self) -> Result<BTreeSet<String>, Error> {
        self.handle.shared.listening_channels().await
    }

    /// Closes the connection. Every subscription yields what it has received, then ends; one that
    /// was not connected at the time yields the gap of that first.
    ///
    /// # Cancel safety
    /// Once the future has been polled the connection is closed even if it is dropped; only the wait
    /// for it ends.
    pub async fn shutdown(&self) {
        self.handle.shared.close();
        let mut state = self.state();
        // The sender lives as long as the handle.
        let _ = state.wait_for(|state| matches!(state, State::Closed)).await;
    }
}
