//! The events of one subscriber.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;

use crate::buffer::{Buffer, Item};
use crate::listener::Handle;
use crate::router::{Registration, Subscriber};
use crate::{Bounds, Error, Event, FromMessage, Message};

/// The events of one or several channels, as a [`Stream`] or by [`recv`](Self::recv).
///
/// An `Err` item, such as a message that does not decode, does not end the stream, nor does the
/// loss of the connection, which is an [`Event::Gap`]. It ends when the listener is shut down, or
/// gives up, or when it was too slow for [`Overflow::Close`](crate::Overflow::Close); dropping it
/// unsubscribes.
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
    /// [`ErrorKind::Frame`](crate::ErrorKind::Frame) for a message of no use, with the raw text.
    /// As the last item before the end, [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) if it
    /// was too slow, or the cause for which the listener gave up.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Result<Event<T>, Error>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The messages alone, without the gaps: for programs that do not care what is missing.
    pub fn messages(self) -> impl Stream<Item = Result<T, Error>> + Send + Unpin
    where
        T: Send,
    {
        self.filter_map(|event| std::future::ready(event.map(Event::message).transpose()))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event<T>, Error>>> {
        // A full buffer must not keep the task from everything else it waits for.
        let budget = ready!(tokio::task::coop::poll_proceed(cx));
        let item = ready!(self.membership.subscriber.buffer.poll_next(cx));
        budget.made_progress();
        Poll::Ready(item.map(|item| match item {
            Item::Message(message) => self.decode(message).map(Event::Message),
            Item::Gap(gap) => Ok(Event::Gap(gap)),
            Item::Error(error) => Err(error),
        }))
    }

    fn decode(&self, message: Message) -> Result<T, Error> {
        let counters = &self.membership.handle.shared.counters;
        counters.delivered.add(1);
        T::from_message(message).inspect_err(|_| counters.decode_errors.add(1))
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
        f.debug_struct("Subscription")
            .field("channels", &self.membership.subscriber.channels)
            .finish()
    }
}

/// A subscriber's place in the router; dropping it gives the place up.
pub(crate) struct Membership {
    handle: Arc<Handle>,
    subscriber: Arc<Subscriber>,
}

impl Membership {
    /// Takes the place, and returns the states of the channels to wait on.
    pub(crate) fn join(
        handle: Arc<Handle>,
        channels: BTreeSet<Arc<str>>,
        bounds: Bounds,
    ) -> Result<(Self, Vec<watch::Receiver<Registration>>), Error> {
        let buffer = Buffer::new(bounds, handle.shared.counters.clone());
        let subscriber = Subscriber::new(channels, buffer);
        let states = handle.shared.router().subscribe(&subscriber)?;
        Ok((Self { handle, subscriber }, states))
    }

    /// Whether the channels are all listened to; from then on every loss is told.
    pub(crate) fn establish(&self) -> bool {
        self.handle.shared.router().establish(&self.subscriber)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.handle.shared.router().unsubscribe(&self.subscriber);
    }
}
