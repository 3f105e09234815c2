//! The client of notify_json, with its defaults.

use std::ops::ControlFlow;

use futures_util::future::BoxFuture;
use notify_json_client::{Event, Listener, Subscription};
use notify_json_tests::Database;

use super::{CHANNEL, Receiver, Seen};
use crate::document::{Body, Document};

pub(super) struct Subscribed<B> {
    subscription: Subscription<Document<B>>,
    /// Ends with its last handle.
    _listener: Listener,
}

pub(super) async fn subscribe<B: Body>(database: &Database) -> Subscribed<B> {
    let listener = database.listener().await;
    let subscription = listener.subscribe(CHANNEL).await.expect("the server runs");
    Subscribed { subscription, _listener: listener }
}

impl<B: Body> Receiver<B> for Subscribed<B> {
    fn receive<'a>(&'a mut self, seen: Seen<'a, B>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let document = match self.subscription.recv().await {
                    Some(Ok(Event::Message(document))) => document,
                    other => {
                        panic!("not a message: {:?}", other.map(|event| event.map(drop_message)))
                    }
                };
                if let ControlFlow::Break(()) = seen(document) {
                    return;
                }
            }
        })
    }
}

fn drop_message<T>(event: Event<T>) -> Event<()> {
    match event {
        Event::Message(_) => Event::Message(()),
        Event::Gap(gap) => Event::Gap(gap),
    }
}
