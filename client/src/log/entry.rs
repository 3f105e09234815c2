//! What a stream of a log yields.

use std::time::SystemTime;

use tokio_postgres::{GenericClient, Transaction};

use super::inbox::{Event, Inbox};
use super::position::Position;
use super::receipt::Receipt;
use crate::{Error, FromMessage};

/// An event for a consumer, who has it until it is acknowledged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery<T> {
    /// Unique in its database. Grows along the channel, save where transactions overlap.
    pub id: i64,
    /// When `notify_json()` was called, by the server's clock.
    pub published_at: SystemTime,
    /// The event.
    pub payload: T,
    receipt: Receipt,
}

/// An event for a reader without a name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stored<T> {
    /// Unique in its database. Grows along the channel, save where transactions overlap.
    pub id: i64,
    /// When `notify_json()` was called, by the server's clock.
    pub published_at: SystemTime,
    /// The event.
    pub payload: T,
    /// Its place, to go on after it in another run.
    pub position: Position,
}

impl<T> Delivery<T> {
    /// What acknowledges it, apart from the event itself.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Acknowledges it and all before it.
    ///
    /// # Errors
    /// As [`Receipt::ack`].
    ///
    /// # Cancel safety
    /// As [`Receipt::ack`].
    pub async fn ack<C: GenericClient>(&self, client: &C) -> Result<(), Error> {
        self.receipt.ack(client).await
    }

    /// Acknowledges it and all before it in the transaction that holds its effects.
    ///
    /// # Errors
    /// As [`Receipt::ack_in`].
    ///
    /// # Cancel safety
    /// As [`Receipt::ack_in`].
    pub async fn ack_in(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        self.receipt.ack_in(transaction).await
    }
}

impl<T: FromMessage> Delivery<T> {
    pub(super) fn from_log(mut event: Event, inbox: &Inbox) -> Result<Self, Error> {
        let hold = event.hold.take().expect("a consumer holds what it reads");
        let id = event.entry.id;
        let receipt = Receipt { hold, window: event.window.clone(), id, told: event.told };
        match inbox.decode(&mut event.entry) {
            Ok(payload) => {
                Ok(Self { id, published_at: event.entry.published_at, payload, receipt })
            }
            Err(error) => Err(error.at(event.position(), Some(receipt))),
        }
    }
}

impl<T: FromMessage> Stored<T> {
    pub(super) fn from_log(mut event: Event, inbox: &Inbox) -> Result<Self, Error> {
        let position = event.position();
        let (id, published_at) = (event.entry.id, event.entry.published_at);
        match inbox.decode(&mut event.entry) {
            Ok(payload) => Ok(Self { id, published_at, payload, position }),
            Err(error) => Err(error.at(position, None)),
        }
    }
}
