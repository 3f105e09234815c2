//! One connection that many tasks of a process subscribe to.

use std::sync::Arc;

use notify_json_tests::Database;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::by_hand::{self, ByHand};
use super::{CHANNEL, Peer};

/// Messages that may wait for a task.
const CAPACITY: usize = 1_024;

/// What a task receives its messages from, as JSON texts that all tasks share.
pub(crate) enum Shared {
    Broadcast(broadcast::Receiver<Arc<str>>),
    PgPubSub(pgpubsub::Subscription),
}

impl Shared {
    /// `None` once the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Arc<str>> {
        match self {
            Self::Broadcast(receiver) => receiver.recv().await.ok(),
            Self::PgPubSub(subscription) => Some(subscription.recv().await.ok()?.payload),
        }
    }
}

/// Subscribes so often. The connection ends with the tasks.
pub(crate) async fn subscribe(
    peer: Peer,
    database: &Database,
    subscriptions: u64,
    tasks: &mut JoinSet<()>,
) -> Vec<Shared> {
    let mut all = Vec::new();
    if peer == Peer::PgPubSub {
        let pubsub = by_hand::pgpubsub::connect(database, CAPACITY).await;
        for _ in 0..subscriptions {
            let subscription = pubsub.listen(CHANNEL).await.expect("the server runs");
            all.push(Shared::PgPubSub(subscription));
        }
        tasks.spawn(async move {
            let _pubsub = pubsub;
            std::future::pending::<()>().await;
        });
    } else {
        let sender = broadcast::Sender::new(CAPACITY);
        all.extend((0..subscriptions).map(|_| Shared::Broadcast(sender.subscribe())));
        let mut messages = ByHand::new(by_hand::raw::listen(database).await);
        tasks.spawn(async move {
            loop {
                // Without receivers the benchmark has ended.
                let _ = messages.next_text(|text| sender.send(text.into())).await;
            }
        });
    }
    all
}
