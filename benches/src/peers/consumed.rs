//! A consumer of a durable channel of notify_json, with its defaults. It acknowledges a thousand
//! events at once, and what it has when no more are there.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use notify_json_client::{Consumer, Delivery, Error, Event, Listener, Message};
use notify_json_tests::Database;
use tokio::task::unconstrained;
use tokio_postgres::Client;

use super::{CHANNEL, PAGE, Receiver, Seen, Start};

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

impl Receiver for Consumed {
    fn receive<'a>(&'a mut self, seen: Seen<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let mut event = event(self.consumer.recv().await);
                let mut count = 1;
                let is_done = loop {
                    // A `Consumer<T>` decodes in the same way, from this text and in this task.
                    let text = event.payload.json().expect("it was published like this");
                    if seen(text).is_break() {
                        break true;
                    }
                    if count == PAGE {
                        break false;
                    }
                    // Unconstrained, or a turn of the scheduler would look like the end.
                    let next = unconstrained(self.consumer.recv()).now_or_never();
                    let Some(next) = next else { break false };
                    event = self::event(next);
                    count += 1;
                };
                event.ack(&self.client).await.expect("the server runs");
                if is_done {
                    return;
                }
            }
        })
    }
}

fn event(item: Option<Result<Event<Delivery<Message>>, Error>>) -> Delivery<Message> {
    match item {
        Some(Ok(Event::Message(event))) => event,
        other => panic!("not an event: {other:?}"),
    }
}
