//! The events of a durable channel as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use tokio::sync::watch;

use super::entry::{Delivery, Stored};
use super::inbox::{self, Inbox, Item};
use super::position::Since;
use super::reader::Source;
use super::state::LogState;
use crate::listener::Handle;
use crate::{Error, Event, FromMessage, ListenerConfig};

/// The events of a durable channel for a named consumer, each until it is acknowledged. Made by
/// [`Listener::consume`](crate::Listener::consume).
pub type Consumer<T> = LogStream<Delivery<T>>;

/// The events of a durable channel for a reader without a name. Made by
/// [`Listener::replay`](crate::Listener::replay).
pub type Replay<T> = LogStream<Stored<T>>;

/// The events of a durable channel, as a [`Stream`] or by [`recv`](Self::recv): first those that
/// were published before, then, without a seam, those that are committed from now on.
///
/// It has a connection of its own. The loss of it is repaired and loses nothing, so there is no gap
/// for it. The stream ends when its listener is shut down, or gives up.
pub struct LogStream<E> {
    items: BoxStream<'static, Result<Event<E>, Error>>,
    state: watch::Receiver<LogState>,
}

impl<T: FromMessage + 'static> Consumer<T> {
    pub(crate) async fn consume(
        handle: Arc<Handle>,
        config: Arc<ListenerConfig>,
        channel: Arc<str>,
        consumer: Arc<str>,
    ) -> Result<Self, Error> {
        let inbox = Inbox::open(handle, config, channel, Source::Consumer(consumer)).await?;
        Ok(Self::new(inbox, Delivery::from_log))
    }
}

impl<T: FromMessage + 'static> Replay<T> {
    pub(crate) async fn replay(
        handle: Arc<Handle>,
        config: Arc<ListenerConfig>,
        channel: Arc<str>,
        since: Since,
    ) -> Result<Self, Error> {
        let inbox = Inbox::open(handle, config, channel, Source::Replay(since)).await?;
        Ok(Self::new(inbox, Stored::from_log))
    }
}

/// Makes what a stream yields of an event.
type Make<E> = fn(inbox::Event, &Inbox) -> Result<E, Error>;

impl<E: 'static> LogStream<E> {
    fn new(inbox: Inbox, make: Make<E>) -> Self {
        let state = inbox.state();
        let items = unfold(inbox, move |mut inbox| async move {
            let item = match inbox.next().await? {
                Item::Event(event) => make(event, &inbox).map(Event::Message),
                Item::Gap(gap) => Ok(Event::Gap(gap)),
                Item::Error(error) => Err(error),
            };
            Some((item, inbox))
        });
        Self { items: items.boxed(), state }
    }

    /// The next event; `None` once the listener is shut down.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) for an event of another type, with the raw
    /// text, and [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) for one beyond the limit; both
    /// have their receipt or position in [`Error::receipt`] and [`Error::position`], so that a
    /// program can go on past them. [`ErrorKind::Postgres`](crate::ErrorKind::Postgres) if the server
    /// refuses to be read, which is tried again, with the delays of a reconnect.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Result<Event<E>, Error>> {
        self.items.next().await
    }

    /// What the stream is doing, now and whenever it changes.
    pub fn state(&self) -> watch::Receiver<LogState> {
        self.state.clone()
    }

    /// Closes the stream, and lets other clients have its consumer at once. What was not
    /// acknowledged comes again, here or there. Dropping does the same without waiting for it.
    ///
    /// # Cancel safety
    /// The stream is closed even if the future is dropped; only the wait for it ends.
    pub async fn close(self) {
        let Self { items, mut state } = self;
        drop(items);
        // An error means that the reader is gone altogether.
        let _ = state.wait_for(|state| matches!(state, LogState::Closed)).await;
    }
}

impl<E> Stream for LogStream<E> {
    type Item = Result<Event<E>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.poll_next_unpin(cx)
    }
}

impl<E> fmt::Debug for LogStream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStream").field("state", &*self.state.borrow()).finish_non_exhaustive()
    }
}
