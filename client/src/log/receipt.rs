//! Acknowledging what was handled.

use std::fmt;
use std::sync::Arc;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Transaction};

use super::queries;
use crate::Error;

/// What acknowledges an event and all before it, in the name of its consumer. Cheap to clone.
///
/// It outlives its event and its [`Consumer`](crate::Consumer), so a batch can be acknowledged by
/// the receipt of its last event.
#[derive(Clone)]
pub struct Receipt {
    pub(super) hold: Arc<Hold>,
    pub(super) window: Arc<str>,
    pub(super) id: i64,
    /// Events skipped, as told to the consumer before this event.
    pub(super) told: i64,
}

/// A consumer in the hands of one client.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) channel: Arc<str>,
    pub(super) consumer: Arc<str>,
    pub(super) epoch: i64,
}

impl Receipt {
    /// The id of the event.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// Acknowledges the event and all before it: the consumer will not see them again. Several
    /// acknowledgements may arrive in any order; the position never goes back.
    ///
    /// With a `Transaction` that is part of it, as with [`ack_in`](Self::ack_in).
    ///
    /// # Errors
    /// [`ErrorKind::Postgres`](crate::ErrorKind::Postgres) with SQLSTATE `55006` if another client
    /// holds the consumer by now, and so will get the event or has it already;
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the connection of `client` is lost.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not acknowledge, as with any query.
    pub async fn ack<C: GenericClient>(&self, client: &C) -> Result<(), Error> {
        let sql = "SELECT notify_json.ack_position($1, $2, $3, $4, $5, $6)";
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&&*self.hold.consumer, Type::TEXT),
            (&&*self.hold.channel, Type::TEXT),
            (&self.hold.epoch, Type::INT8),
            (&&*self.window, Type::TEXT),
            (&self.id, Type::INT8),
            (&self.told, Type::INT8),
        ];
        let acked = client.query_typed(sql, &parameters).await;
        acked.map(drop).map_err(|error| queries::refused("cannot acknowledge the event", error))
    }

    /// Acknowledges in the transaction that holds the effects of the event, so that both happen or
    /// neither: exactly once. Nobody takes the consumer over before the transaction ends.
    ///
    /// # Errors
    /// As [`ack`](Self::ack); then the transaction cannot commit, and so has no effect.
    ///
    /// # Cancel safety
    /// As [`ack`](Self::ack).
    pub async fn ack_in(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        self.ack(transaction).await
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("channel", &self.hold.channel)
            .field("consumer", &self.hold.consumer)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
