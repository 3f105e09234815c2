//! The client of notify_json, with its defaults.

use futures_util::future::BoxFuture;
use notify_json_client::{Event, Listener, Message, Subscription};
use notify_json_tests::Database;

use super::{CHANNEL, Receiver, Seen};

pub(super) struct Subscribed {
    subscription: Subscription<Message>,
    /// Ends with its last handle.
    _listener: Listener,
}

pub(super) async fn subscribe(database: &Database) -> Subscribed {
    let listener = database.listener().await;
    let subscription = listener.subscribe(CHANNEL).await.expect("the server runs");
    Subscribed { subscription, _listener: listener }
}

impl Receiver for Subscribed {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // A `Subscription<T>` decodes in the same way, from this text and in this task.
            while let Some(Ok(Event::Message(message))) = self.subscription.recv().await {
                if seen(message.json().expect("it was sent like this")).is_break() {
                    return;
                }
            }
            panic!("not a message")
        })
    }
}
