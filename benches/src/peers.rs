//! notify_json, and what one would use instead.

mod by_hand;
mod claim_check;
mod consumed;
mod notify_json;
pub(crate) mod pgmq;
pub(crate) mod pgq;
mod publisher;
pub(crate) mod select;
pub(crate) mod shared;

use std::ops::ControlFlow;
use std::process::Command;

use futures_util::future::BoxFuture;
use notify_json_tests::{Database, project};

use crate::figures::{Candidate, Role};
use by_hand::ByHand;
use claim_check::ClaimCheck;
pub(crate) use claim_check::TABLE;
use pgmq::Pgmq;
use pgq::{PgQ, Ticks};
pub(crate) use publisher::Publisher;
use select::Select;

/// The channel of every scenario.
pub(crate) const CHANNEL: &str = "bench";

/// Events that a consumer of a log takes at once, and acknowledges at once.
const PAGE: usize = 1_000;

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
    /// A durable channel of notify_json.
    Durable,
    PgQ(Ticks),
    Pgmq,
    /// An INSERT into a table like the log.
    Insert,
}

impl From<Peer> for Candidate {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::NotifyJson => Self::new("notify_json", Role::Ours),
            Peer::Raw => Self::new("raw tokio-postgres", Role::Peer),
            Peer::Sqlx => Self::new("sqlx PgListener", Role::Peer),
            Peer::PgPubSub => Self::new("pgpubsub", Role::Peer),
            Peer::ClaimCheck => Self::new("claim check", Role::Peer),
            Peer::Durable => Self::new("notify_json", Role::Ours),
            Peer::PgQ(Ticks::Default) => Self::new("PgQ", Role::Peer),
            Peer::PgQ(Ticks::Often) => Self::new("PgQ, ticked every 10 ms", Role::Peer),
            Peer::Pgmq => Self::new("pgmq", Role::Peer),
            Peer::Insert => Self::new("INSERT alone", Role::Limit),
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

/// Runs one of the project's scripts; what it prints, or the last line of its complaint.
fn script(name: &str) -> Result<String, String> {
    let output = Command::new(project().join("scripts").join(name)).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr).lines().last().unwrap_or_default().to_owned()),
    }
}

/// Where the consumer of a log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Now,
    Earliest,
}

impl Peer {
    /// A connection that receives what is sent from now on.
    pub(crate) async fn receiver(self, database: &Database) -> Box<dyn Receiver> {
        match self {
            Self::NotifyJson => Box::new(notify_json::subscribe(database).await),
            Self::Raw => Box::new(ByHand::new(by_hand::raw::listen(database).await)),
            Self::Sqlx => Box::new(ByHand::new(by_hand::sqlx::listen(database).await)),
            Self::PgPubSub => Box::new(ByHand::new(by_hand::pgpubsub::listen(database).await)),
            Self::ClaimCheck => Box::new(ClaimCheck::listen(database).await),
            log => log.consumer(database, Start::Now).await,
        }
    }

    /// A connection that reads a log.
    pub(crate) async fn consumer(self, database: &Database, start: Start) -> Box<dyn Receiver> {
        match self {
            Self::Durable => Box::new(consumed::consume(database, start).await),
            Self::PgQ(ticks) => Box::new(PgQ::consume(database, start, ticks).await),
            Self::Pgmq => Box::new(Pgmq::consume(database, start).await),
            Self::Insert => Box::new(Select::from_earliest(database).await),
            live => unreachable!("{live:?} has no log"),
        }
    }
}
