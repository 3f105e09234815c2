//! notify_json, and what one would use instead on live channels.

mod by_hand;
mod claim_check;
mod notify_json;
mod publisher;
pub(crate) mod shared;

use std::ops::ControlFlow;

use futures_util::future::BoxFuture;
use notify_json_tests::Database;

use crate::figures::{Candidate, Role};
use by_hand::ByHand;
use claim_check::ClaimCheck;
pub(crate) use claim_check::TABLE;
pub(crate) use publisher::Publisher;

/// The channel of every live scenario.
pub(crate) const CHANNEL: &str = "bench";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    NotifyJson,
    /// tokio-postgres, polled for notifications, and frames made by hand beyond 7,999 bytes.
    Raw,
    /// sqlx's `PgListener`; frames as above.
    Sqlx,
    /// The crate of that name; frames as above.
    PgPubSub,
    /// A table for the message, and its id through NOTIFY.
    ClaimCheck,
}

impl From<Peer> for Candidate {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::NotifyJson => Self::new("notify_json", Role::Ours),
            Peer::Raw => Self::new("raw tokio-postgres", Role::Peer),
            Peer::Sqlx => Self::new("sqlx PgListener", Role::Peer),
            Peer::PgPubSub => Self::new("pgpubsub", Role::Peer),
            Peer::ClaimCheck => Self::new("claim check", Role::Peer),
        }
    }
}

/// What takes the JSON text of each message; it breaks when it has seen enough.
pub(crate) type Seen<'a> = &'a mut (dyn FnMut(&str) -> ControlFlow<()> + Send);

/// One listening connection.
pub(crate) trait Receiver: Send {
    /// Receives until `seen` breaks.
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()>;
}

impl Peer {
    /// A connection that listens from now on.
    pub(crate) async fn receiver(self, database: &Database) -> Box<dyn Receiver> {
        match self {
            Self::NotifyJson => Box::new(notify_json::subscribe(database).await),
            Self::Raw => Box::new(ByHand::new(by_hand::raw::listen(database).await)),
            Self::Sqlx => Box::new(ByHand::new(by_hand::sqlx::listen(database).await)),
            Self::PgPubSub => Box::new(ByHand::new(by_hand::pgpubsub::listen(database).await)),
            Self::ClaimCheck => Box::new(ClaimCheck::listen(database).await),
        }
    }
}
