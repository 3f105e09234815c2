//! A consumer of a durable channel of notify_json, with its defaults. It acknowledges beside taking
//! more: always the last event it has taken, and with it all before.

use futures_util::future::BoxFuture;
use notify_json_client::{Consumer, Event, Listener, Message, Receipt};
use notify_json_tests::Database;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::{CHANNEL, Receiver, Seen, Start};

pub(super) struct Consumed {
    consumer: Consumer<Message>,
    taken: Option<watch::Sender<Option<Receipt>>>,
    acknowledging: JoinHandle<()>,
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
    let (taken, newest) = watch::channel(None);
    let acknowledging = tokio::spawn(acknowledge(client, newest));
    Consumed { consumer, taken: Some(taken), acknowledging, _listener: listener }
}

async fn acknowledge(client: Client, mut newest: watch::Receiver<Option<Receipt>>) {
    while newest.changed().await.is_ok() {
        let receipt = newest.borrow_and_update().clone();
        if let Some(receipt) = receipt {
            receipt.ack(&client).await.expect("the server runs");
        }
    }
}

impl Receiver for Consumed {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let event = match self.consumer.recv().await {
                    Some(Ok(Event::Message(event))) => event,
                    other => panic!("not an event: {other:?}"),
                };
                // A `Consumer<T>` decodes in the same way, from this text and in this task.
                let text = event.payload.json().expect("it was published like this");
                let is_done = seen(text).is_break();
                if let Some(taken) = &self.taken {
                    taken.send_replace(Some(event.receipt().clone()));
                }
                if is_done {
                    break;
                }
            }
            // The last one is acknowledged before this ends.
            drop(self.taken.take());
            (&mut self.acknowledging).await.expect("it does not panic");
        })
    }
}
