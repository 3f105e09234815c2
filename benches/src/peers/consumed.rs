//! A consumer of a durable channel of notify_json, with its defaults. It acknowledges beside taking
//! more: always the last event it has taken, and with it all before.

use futures_util::future::BoxFuture;
use notify_json_client::{Consumer, Event, Listener, Message, Receipt};
use notify_json_tests::Database;
use tokio::sync::watch;
use tokio_postgres::Client;

use super::{CHANNEL, Receiver, Seen, Start};

pub(super) struct Consumed {
    consumer: Consumer<Message>,
    client: Client,
    /// Ends with its last handle.
    _listener: Listener,
}

pub(super) async fn consume(database: &Database, start: Start) -> Consumed {
    let client = database.connect().await;
    let since = match start {
        Start::Now => "latest",
        Start::Earliest => "earliest",
    };
    let seek = format!("SELECT notify_json.seek('bench', '{CHANNEL}', '{since}')");
    client.batch_execute(&seek).await.expect("the server runs");
    let listener = database.listener().await;
    let consumer = listener.consume(CHANNEL, "bench").await.expect("the server runs");
    Consumed { consumer, client, _listener: listener }
}

/// Ends when the last one of the sender, which is gone by then, is acknowledged.
async fn acknowledge(client: &Client, mut newest: watch::Receiver<Option<Receipt>>) {
    while newest.changed().await.is_ok() {
        let receipt = newest.borrow_and_update().clone().expect("nothing else is sent");
        receipt.ack(client).await.expect("the server runs");
    }
}

impl Receiver for Consumed {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Self { consumer, client, .. } = self;
            let (taken, newest) = watch::channel(None);
            let taking = async move {
                loop {
                    let event = match consumer.recv().await {
                        Some(Ok(Event::Message(event))) => event,
                        other => panic!("not an event: {other:?}"),
                    };
                    // A `Consumer<T>` decodes in the same way, from this text and in this task.
                    let text = event.payload.json().expect("it was published like this");
                    let is_done = seen(text).is_break();
                    taken.send_replace(Some(event.receipt().clone()));
                    if is_done {
                        return;
                    }
                }
            };
            tokio::join!(taking, acknowledge(client, newest));
        })
    }
}
