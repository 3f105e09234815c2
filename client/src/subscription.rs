//! The events of one subscriber.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::watch;

use crate::buffer::{Buffer, Item};
use crate::listener::Handle;
use crate::router::Registration;
use crate::{Error, Event, FromMessage};

/// The events of one or several channels, as a [`Stream`] or by [`recv`](Self::recv).
///
/// An `Err` item, such as a message that does not decode, does not end the stream. It ends when
/// the listener is shut down; dropping it unsubscribes.
pub struct Subscription<T> {
    membership: Membership,
    types: PhantomData<fn() -> T>,
}

impl<T: FromMessage> Subscription<T> {
    pub(crate) fn new(membership: Membership) -> Self {
        Self { membership, types: PhantomData }
    }

    /// The next event; `None` once the listener is shut down and everything received was taken.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) or
    /// [`ErrorKind::Frame`](crate::ErrorKind::Frame) for a message of no use, with the raw text;
    /// [`ErrorKind::Postgres`](crate::ErrorKind::Postgres) when the connection is lost.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Result<Event<T>, Error>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event<T>, Error>>> {
        let item = ready!(self.membership.buffer.poll_next(cx));
        Poll::Ready(item.map(|item| match item {
            Item::Message(message) => T::from_message(message).map(Event::Message),
            Item::Gap(gap) => Ok(Event::Gap(gap)),
            Item::Error(error) => Err(error),
        }))
    }
}

impl<T: FromMessage> Stream for Subscription<T> {
    type Item = Result<Event<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx)
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channels", &self.membership.channels).finish()
    }
}

/// A buffer's place among the subscribers of its channels; dropping it gives the place up.
pub(crate) struct Membership {
    handle: Arc<Handle>,
    channels: Vec<Arc<str>>,
    buffer: Arc<Buffer>,
}

impl Membership {
    pub(crate) fn new(handle: Arc<Handle>, buffer: Arc<Buffer>) -> Self {
        Self { handle, channels: Vec::new(), buffer }
    }

    pub(crate) fn join(
        &mut self,
        channel: Arc<str>,
    ) -> Result<watch::Receiver<Registration>, Error> {
        let registration = self.handle.shared.router().subscribe(&channel, &self.buffer)?;
        self.handle.shared.changed.notify_one();
        self.channels.push(channel);
        Ok(registration)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut router = self.handle.shared.router();
        for channel in &self.channels {
            router.unsubscribe(channel, &self.buffer);
        }
        drop(router);
        self.handle.shared.changed.notify_one();
    }
}
