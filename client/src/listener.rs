//! One connection that listens, and the subscriptions that share it.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::sync::Arc;

use tokio::sync::watch;

use crate::attempt::{connect, refuse_pooler};
use crate::counters::Counts;
use crate::router::Registration;
use crate::session::{self, Shared};
use crate::state::State;
use crate::subscription::Membership;
use crate::{Bounds, Error, ErrorKind, FromMessage, ListenerConfig, Subscription, channel};

/// A connection of its own that listens to any number of channels.
///
/// Its task reads the connection at all times, whatever the subscribers do, and makes a new one
/// when it is lost. It ends with [`shutdown`](Self::shutdown), or when the listener and all of its
/// subscriptions are dropped.
#[derive(Debug)]
pub struct Listener {
    handle: Arc<Handle>,
    bounds: Bounds,
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
            let attempt = async {
                let mut connected = connect(&config).await?;
                refuse_pooler(&mut connected, &config).await?;
                Ok(connected)
            };
            match (attempt.await, delays.as_mut().and_then(Iterator::next)) {
                (Ok(connected), _) => break connected,
                (Err(error), None) => return Err(error),
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
        tracing::info!("connected");
        let (shared, bounds) = (Shared::new(&connected), config.bounds);
        tokio::spawn(session::run(config, shared.clone(), connected));
        Ok(Self { handle: Arc::new(Handle { shared }), bounds })
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
        self.subscribe_bounded(channels, self.bounds).await
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

    /// Closes the connection. Every subscription yields what it has received, then ends.
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
