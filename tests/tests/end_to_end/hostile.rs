//! Whatever another role sends with plain `pg_notify`, the subscriber is told, and goes on.

use notify_json_client::{Error, ErrorKind, Event, Gap, Message, Subscription};
use notify_json_tests::{Database, Server, next_message, texts};
use notify_json_wire::{Encoding, Header, Id, SplitOptions, Splitter};
use tokio_postgres::Client;

async fn stranger(database: &Database) -> Client {
    let name = database.url().rsplit('/').next().unwrap();
    let role = format!("stranger_{name}");
    database.execute(&format!("CREATE ROLE {role} LOGIN")).await;
    database.as_role(&role).connect().await
}

async fn send(client: &Client, payload: &str) {
    client.execute("SELECT pg_notify('c', $1)", &[&payload]).await.unwrap();
}

fn frame(index: u32, count: u32, encoding: Encoding, length: u64, body: &str) -> String {
    format!("{}{body}", Header { id: Id(7), index, count, encoding, length })
}

fn frames(text: &str, compress: bool) -> Vec<String> {
    let compress_above_bytes = compress.then_some(0);
    let options = SplitOptions { compress_above_bytes, ..SplitOptions::default() };
    let mut splitter = Splitter::new().unwrap();
    splitter.split(text, &options).unwrap().payloads().map(|payload| payload.to_string()).collect()
}

async fn error(subscription: &mut Subscription<Message>) -> Error {
    match subscription.recv().await {
        Some(Err(error)) => error,
        Some(Ok(Event::Message(message))) => message.json().expect_err("an error was due"),
        other => panic!("{other:?}"),
    }
}

async fn gap(subscription: &mut Subscription<Message>) -> Gap {
    match subscription.recv().await {
        Some(Ok(Event::Gap(gap))) => gap,
        other => panic!("{other:?}"),
    }
}

fn incomplete(received: u32, count: u32) -> Gap {
    Gap::Incomplete { channel: "c".to_owned(), received, count }
}

#[tokio::test]
async fn broken_frames_are_errors_with_their_raw_text() {
    use Encoding::{Json, Zstd};
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let stranger = stranger(&database).await;
    let bomb = frames(&" ".repeat(16 << 20), true).remove(0);
    let bomb_body = bomb.split_once('\n').unwrap().1;
    let broken = [
        "~".to_owned(),
        "~1".to_owned(),
        "~2 event".to_owned(),
        "~1 events".to_owned(),
        frame(5, 3, Json, 20_000, "[1]"),
        frame(0, 0, Json, 3, "[1]"),
        frame(0, 2, Json, 3, "[1]"),
        frame(0, 1, Json, 4, "[1]"),
        frame(0, 1, Json, 2, "[1]"),
        frame(0, 600_000, Json, 4 << 30, "[1]"),
        frame(0, 1, Zstd, 4 << 30, "AAAA"),
        frame(0, 1, Json, u64::MAX, "[1]"),
        frame(0, u32::MAX, Json, 16 << 20, "[1]"),
        frame(0, 1, Zstd, 3, "not base64!"),
        frame(0, 1, Zstd, 3, "AAAA"),
        frame(0, 1, Zstd, 1_000_000, bomb_body),
        "~1 00000000000000ab 0/1 json 3\n".to_owned(),
    ];
    for payload in &broken {
        send(&stranger, payload).await;
        let error = error(&mut subscription).await;
        assert_eq!(error.kind(), ErrorKind::Frame, "{payload:.60}");
        assert_eq!(error.channel(), Some("c"));
        let raw = error.raw().unwrap();
        assert!(payload.ends_with(raw), "{payload:.60}: the frame, or the base64 in it: {raw:.60}");
        send(&stranger, "[\"next\"]").await;
        assert_eq!(next_message(&mut subscription).await.json().unwrap(), "[\"next\"]");
    }
}

#[tokio::test]
async fn missing_and_interleaved_frames_are_gaps() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let (one, other) = (stranger(&database).await, database.connect().await);
    let message = frames(&texts::string("x", 30_000, 1), false);
    let count = message.len() as u32;

    for payload in &message[..2] {
        send(&one, payload).await;
    }
    send(&other, "1").await;
    assert_eq!(gap(&mut subscription).await, incomplete(2, count));
    assert_eq!(next_message(&mut subscription).await.json().unwrap(), "1");

    let second = frames(&texts::string("y", 30_000, 2), false);
    send(&one, &message[0]).await;
    send(&other, &second[0]).await;
    send(&one, &message[1]).await;
    send(&other, "2").await;
    assert_eq!(gap(&mut subscription).await, incomplete(1, count), "of the first");
    assert_eq!(gap(&mut subscription).await, incomplete(1, count), "of the second");
    assert_eq!(gap(&mut subscription).await, incomplete(0, count), "of the first's second frame");
    assert_eq!(next_message(&mut subscription).await.json().unwrap(), "2");

    let tail = frames(&texts::string("z", 30_000, 3), false);
    send(&one, &tail[2]).await;
    send(&one, &tail[3]).await;
    let text = texts::incompressible(1_000_000, 3);
    other.execute("SELECT notify_json('c', $1::text)", &[&text]).await.unwrap();
    assert_eq!(gap(&mut subscription).await, incomplete(0, count), "once for the whole tail");
    assert_eq!(next_message(&mut subscription).await.json().unwrap(), text);
}

#[tokio::test]
async fn a_tail_at_the_start_of_a_subscription_is_no_loss() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let client = database.connect().await;
    for payload in &frames(&texts::string("x", 30_000, 1), false)[2..] {
        send(&client, payload).await;
    }
    send(&client, "1").await;
    assert_eq!(next_message(&mut subscription).await.json().unwrap(), "1");
}

#[tokio::test]
async fn doorbells_and_other_channels_are_not_messages() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let client = database.connect().await;
    send(&client, "~1 event").await;
    client.batch_execute("SELECT notify_json('C', '0'); NOTIFY d, '~'").await.unwrap();
    send(&client, "1").await;
    assert_eq!(next_message(&mut subscription).await.json().unwrap(), "1");
}

#[tokio::test]
async fn a_message_over_the_listeners_limit_is_one_error() {
    let database = Server::shared().database().await;
    let config: notify_json_client::ListenerConfig = database.url().parse().unwrap();
    let listener = config.max_message_bytes(20_000).connect().await.unwrap();
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let client = database.connect().await;
    for text in [texts::string("x", 20_001, 1), texts::incompressible(100_000, 1)] {
        client.execute("SELECT notify_json('c', $1::text)", &[&text]).await.unwrap();
        let error = error(&mut subscription).await;
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(
            source,
            format!("message of {} bytes exceeds the limit of 20000 bytes", text.len())
        );
        let text = texts::incompressible(20_000, 2);
        client.execute("SELECT notify_json('c', $1::text)", &[&text]).await.unwrap();
        assert_eq!(next_message(&mut subscription).await.json().unwrap(), text);
    }
}

#[tokio::test]
async fn the_listeners_limit_holds_for_bare_messages_too() {
    let database = Server::shared().database().await;
    let config: notify_json_client::ListenerConfig = database.url().parse().unwrap();
    let listener = config.max_message_bytes(100).connect().await.unwrap();
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let client = database.connect().await;
    for text in [texts::string("x", 101, 1), texts::string("x", 100, 1)] {
        client.execute("SELECT notify_json('c', $1::text)", &[&text]).await.unwrap();
    }
    assert_eq!(error(&mut subscription).await.kind(), ErrorKind::Frame);
    assert_eq!(next_message(&mut subscription).await.json().unwrap().len(), 100);
}
