//! The crate `pgpubsub`, with room for what may be under way: beyond it messages are dropped.

use notify_json_tests::Database;
use pgpubsub::{Notification, PgPubSub, PgPubSubOptionsBuilder, Subscription};

use super::super::CHANNEL;
use super::{Notifications, Payload};

/// As many as notify_json's default.
const CAPACITY: usize = 65_536;

pub(in crate::peers) struct Subscribed {
    subscription: Subscription,
    /// Its tasks end with it.
    _pubsub: PgPubSub,
}

/// Each of its subscriptions takes memory for as many messages as the capacity.
pub(in crate::peers) async fn connect(database: &Database, capacity: usize) -> PgPubSub {
    let options = PgPubSubOptionsBuilder::from_connection_str(database.url());
    PgPubSub::connect(options.channel_capacity(capacity).build()).await.expect("the server runs")
}

pub(in crate::peers) async fn listen(database: &Database) -> Subscribed {
    let pubsub = connect(database, CAPACITY).await;
    let subscription = pubsub.listen(CHANNEL).await.expect("the server runs");
    Subscribed { subscription, _pubsub: pubsub }
}

impl Notifications for Subscribed {
    type Notification = Notification;

    async fn next(&mut self) -> Notification {
        self.subscription.recv().await.expect("it has room")
    }
}

impl Payload for Notification {
    fn payload(&self) -> &str {
        &self.payload
    }
}
