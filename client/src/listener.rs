//! One connection that listens, and the subscriptions that share it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

#[cfg(doc)]
use crate::ErrorKind;
use crate::buffer::{Bounds, Buffer};
use crate::router::Registration;
use crate::session::{self, Shared};
use crate::subscription::Membership;
use crate::{Error, FromMessage, ListenerConfig, Subscription, channel};

/// A connection of its own that listens to any number of channels.
///
/// Its task reads the connection at all times, whatever the subscribers do. It ends with
/// [`shutdown`](Self::shutdown), or when the listener and all of its subscriptions are dropped.
#[derive(Debug)]
pub struct Listener {
    handle: Arc<Handle>,
    bounds: Bounds,
    ended: watch::Receiver<()>,
}

/// Ends the session when the last one that could use it is gone.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}

impl Listener {
    /// Connects with defaults to a URL (`postgres://user@host/database`) or `key=value` pairs.
    /// [`ListenerConfig`] has the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] or [`ErrorKind::Connect`], with the cause as `source()`.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect(connection: &str) -> Result<Self, Error> {
        Self::from_config(connection.parse()?).await
    }

    pub(crate) async fn from_config(config: ListenerConfig) -> Result<Self, Error> {
        let (client, connection) = config.connector.connect().await?;
        tracing::info!("connected");
        let client = Arc::new(client);
        let shared = Shared::new(client.clone());
        let (running, ended) = watch::channel(());
        let session = session::run(client, connection, config.limits, shared.clone());
        tokio::spawn(async move {
            session.await;
            drop(running);
        });
        Ok(Self { handle: Arc::new(Handle { shared }), bounds: config.bounds, ended })
    }

    /// Subscribes to a channel. Returns once `LISTEN` is committed: what is sent from then on
    /// arrives.
    ///
    /// # Errors
    /// [`ErrorKind::Channel`] for a name PostgreSQL would refuse or cut, [`ErrorKind::Postgres`]
    /// if the server refuses `LISTEN` or is gone, [`ErrorKind::Closed`] after `shutdown`.
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
        let channels = channels
            .into_iter()
            .map(|name| channel::check(name.as_ref()))
            .collect::<Result<BTreeSet<_>, _>>()?;
        let buffer = Arc::new(Buffer::new(self.bounds));
        let mut membership = Membership::new(self.handle.clone(), buffer);
        let registrations = channels
            .into_iter()
            .map(|channel| membership.join(channel))
            .collect::<Result<Vec<_>, _>>()?;
        for registration in registrations {
            self.committed(registration).await?;
        }
        Ok(Subscription::new(membership))
    }

    async fn committed(&self, mut state: watch::Receiver<Registration>) -> Result<(), Error> {
        let settled = state
            .wait_for(|state| matches!(state, Registration::Committed | Registration::Failed(_)))
            .await;
        match settled.as_deref() {
            Ok(Registration::Failed(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(self.handle.shared.router().closed().unwrap_or_else(Error::closed)),
        }
    }

    /// The channels that the server says this connection listens to, for diagnosis.
    ///
    /// # Errors
    /// [`ErrorKind::Postgres`] if the connection is lost, [`ErrorKind::Closed`] after it.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn listening_channels(&self) -> Result<BTreeSet<String>, Error> {
        self.handle.shared.listening_channels().await
    }

    /// Closes the connection. Every subscription yields what it has received, then ends.
    ///
    /// # Cancel safety
    /// The connection is closed even if the future is dropped; only the wait for it ends.
    pub async fn shutdown(&self) {
        self.handle.shared.closing.send_replace(true);
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}
