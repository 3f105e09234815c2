//! Many connections at once.

use std::collections::HashMap;
use std::sync::Arc;

use notify_json_client::Message;
use notify_json_tests::{Server, drain, texts};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Numbered {
    connection: usize,
    number: usize,
    filling: String,
}

const CHANNELS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_connections_send_a_thousand_mixed_messages_each() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe_many::<Message>(CHANNELS).await.unwrap();
    let mut senders = JoinSet::new();
    for connection in 0..20 {
        let client = database.connect().await;
        senders.spawn(async move {
            for number in 0..1_000 {
                let filling = match number % 50 {
                    0 => texts::incompressible(30_000, number as u64),
                    1 => "x".repeat(100_000),
                    n => "é".repeat(n * 10),
                };
                let message = Numbered { connection, number, filling };
                let channel = CHANNELS[(connection + number) % CHANNELS.len()];
                notify_json_client::publish(&client, channel, &message).await.unwrap();
            }
        });
    }
    let mut next = HashMap::new();
    for message in drain(&mut subscription, 20_000).await {
        let Numbered { connection, number, .. } = message.decode().unwrap();
        assert_eq!(message.channel(), CHANNELS[(connection + number) % CHANNELS.len()]);
        let expected = next.entry(connection).or_insert(0);
        assert_eq!(number, *expected, "connection {connection}: none lost, none twice, in order");
        *expected += 1;
    }
    senders.join_all().await;
    assert!(next.len() == 20 && next.values().all(|&count| count == 1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_connections_send_megabytes_at_once() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<Message>("large").await.unwrap();
    let texts: Arc<Vec<String>> =
        Arc::new((0..8).map(|seed| texts::incompressible(1_000_000, seed)).collect());
    let mut senders = JoinSet::new();
    for connection in 0..8 {
        let (client, texts) = (database.connect().await, texts.clone());
        senders.spawn(async move {
            for _ in 0..3 {
                let send = "SELECT notify_json('large', $1::text)";
                client.execute(send, &[&texts[connection]]).await.unwrap();
            }
        });
    }
    let mut counts = HashMap::new();
    for message in drain(&mut subscription, 24).await {
        let text = message.json().unwrap();
        let connection = texts.iter().position(|sent| sent == text).expect("arrives unchanged");
        *counts.entry(connection).or_insert(0) += 1;
        assert!(message.frame_count() > 100);
    }
    senders.join_all().await;
    assert!(counts.len() == 8 && counts.values().all(|&count| count == 3));
}
