//! Subscriptions come and go; the server listens to exactly what they need.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use notify_json_client::{Bounds, ErrorKind, Event, Listener, Message, Subscription};
use notify_json_tests::{Server, drain, next_message};
use serde::Deserialize;

const NAMES: [&str; 6] =
    ["orders", "Orders", "Weird \"name\"", "a$$b", "ünïcödé 日本", "'; DROP TABLE x; --"];

/// Asks the server until it lists exactly these channels.
async fn wait_for_channels(listener: &Listener, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|&name| name.to_owned()).collect();
    while listener.listening_channels().await.unwrap() != expected {}
}

#[tokio::test]
async fn names_that_need_quoting_work() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let client = database.connect().await;
    let long = "x".repeat(63);
    for name in NAMES.into_iter().chain([long.as_str()]) {
        let mut subscription = listener.subscribe::<String>(name).await.unwrap();
        notify_json_client::publish(&client, name, name).await.unwrap();
        assert_eq!(next_message(&mut subscription).await, name);
    }
}

#[tokio::test]
async fn names_that_cannot_work_never_reach_the_server() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let client = database.connect().await;
    for name in ["", "a\0b", &"x".repeat(64)] {
        let error = listener.subscribe::<u32>(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Channel);
        let error = notify_json_client::publish(&client, name, &1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Channel);
    }
    let none: [&str; 0] = [];
    let error = listener.subscribe_many::<u32>(none).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Channel);
    assert!(listener.listening_channels().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_the_server_would_cut_is_refused() {
    let database = Server::shared().database_with_encoding("EUC_JP").await;
    let listener = database.listener().await;
    // 62 bytes of UTF-8, but 93 of EUC_JP.
    let error = listener.subscribe::<u32>(&"ă".repeat(31)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Channel);
    assert!(error.to_string().contains("in the database's encoding"), "{error}");
    listener.subscribe::<u32>(&"ă".repeat(21)).await.unwrap();
}

#[tokio::test]
async fn a_channel_that_fails_leaves_the_others_alone() {
    let database = Server::shared().database_with_encoding("LATIN1").await;
    let listener = database.listener().await;
    // LATIN1 has no such character, so the server refuses this one.
    let (good, bad, other) = tokio::join!(
        listener.subscribe::<u32>("good"),
        listener.subscribe::<u32>("日本"),
        listener.subscribe::<u32>("other"),
    );
    assert_eq!(bad.unwrap_err().code().unwrap().code(), "22P05");
    let sender = database.connect().await;
    for (channel, mut subscription) in [("good", good.unwrap()), ("other", other.unwrap())] {
        notify_json_client::publish(&sender, channel, &1).await.unwrap();
        assert_eq!(next_message(&mut subscription).await, 1);
    }
}

#[tokio::test]
async fn a_reader_with_everything_waiting_lets_others_run() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<u32>("c").await.unwrap();
    let send = "SELECT notify_json('c', to_json(n)) FROM generate_series(1, 20000) n";
    database.execute(send).await;
    while listener.counts().received < 20_000 {
        tokio::task::yield_now().await;
    }
    let reading = async { drain(&mut subscription, 20_000).await.len() };
    let mut turns = 0;
    let other = async {
        loop {
            turns += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        read = reading => assert_eq!(read, 20_000),
        () = other => {}
    }
    assert!(turns > 10, "the other ran {turns} times meanwhile");
}

#[tokio::test]
async fn channels_and_subscribers_share_a_connection() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut numbers = listener.subscribe::<u32>("numbers").await.unwrap();
    let mut same = listener.subscribe::<Message>("numbers").await.unwrap();
    let mut names = listener.subscribe::<String>("names").await.unwrap();
    let client = database.connect().await;
    for number in 0..100 {
        notify_json_client::publish(&client, "numbers", &number).await.unwrap();
        notify_json_client::publish(&client, "names", &number.to_string()).await.unwrap();
    }
    assert_eq!(drain(&mut numbers, 100).await, (0..100).collect::<Vec<_>>());
    assert_eq!(drain(&mut names, 100).await.last().unwrap(), "99");
    let messages = drain(&mut same, 100).await;
    assert_eq!(messages[42].json().unwrap(), "42");
    assert_eq!(messages[42].channel(), "numbers");

    let count = "SELECT count(*) FROM pg_stat_activity
                 WHERE application_name = 'notify_json' AND datname = current_database()";
    assert_eq!(client.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[derive(Debug, PartialEq, Deserialize)]
struct Order {
    id: u64,
}

#[tokio::test]
async fn what_does_not_decode_is_an_item_with_its_raw_text() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut orders = listener.subscribe::<Order>("orders").await.unwrap();
    let client = database.connect().await;
    let payloads = [r#"{"id": "secret"}"#, "not json", "", "{\"id\": 1"];
    for payload in payloads {
        client.execute("SELECT pg_notify('orders', $1)", &[&payload]).await.unwrap();
        client.batch_execute(r#"SELECT notify_json('orders', '{"id": 42}')"#).await.unwrap();
        let error = orders.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert_eq!(error.raw(), Some(payload));
        assert_eq!(error.channel(), Some("orders"));
        assert!(!format!("{error} {error:?}").contains("secret"));
        assert_eq!(next_message(&mut orders).await, Order { id: 42 });
    }
}

#[derive(Debug, PartialEq, Deserialize)]
struct Borrowed<'a> {
    name: &'a str,
}

#[tokio::test]
async fn a_message_lends_its_text() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut messages = listener.subscribe::<Message>("c").await.unwrap();
    database.execute(r#"SELECT notify_json('c', '{"name": "x"}')"#).await;
    let message = next_message(&mut messages).await;
    assert_eq!(message.decode::<Borrowed<'_>>().unwrap(), Borrowed { name: "x" });
}

#[tokio::test]
async fn the_last_subscription_of_a_channel_unlistens() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let first = listener.subscribe::<u32>("c").await.unwrap();
    let second = listener.subscribe::<u32>("c").await.unwrap();
    let other = listener.subscribe_many::<u32>(["c", "d", "d"]).await.unwrap();
    wait_for_channels(&listener, &["c", "d"]).await;
    drop(first);
    drop(other);
    wait_for_channels(&listener, &["c"]).await;
    drop(second);
    wait_for_channels(&listener, &[]).await;

    let mut again = listener.subscribe::<u32>("c").await.unwrap();
    database.execute("SELECT notify_json('c', '1')").await;
    assert_eq!(next_message(&mut again).await, 1);
}

#[tokio::test]
async fn nothing_sent_after_subscribe_returned_is_missed() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let client = database.connect().await;
    for round in 0..200 {
        let mut subscription = listener.subscribe::<u32>("c").await.unwrap();
        notify_json_client::publish(&client, "c", &round).await.unwrap();
        assert_eq!(next_message(&mut subscription).await, round);
    }
}

#[tokio::test]
async fn shutdown_ends_every_stream_and_the_connection() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut first = listener.subscribe::<u32>("c").await.unwrap();
    let mut second: Subscription<u32> = listener.subscribe("d").await.unwrap();
    listener.shutdown().await;
    listener.shutdown().await;
    assert!(first.recv().await.is_none());
    assert!(second.next().await.is_none());
    let error = listener.subscribe::<u32>("c").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let client = database.connect().await;
    let left = "SELECT count(*) FROM pg_stat_activity
                WHERE application_name = 'notify_json' AND datname = current_database()";
    while client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) != 0 {}
}

#[tokio::test]
async fn a_subscription_outlives_its_listener() {
    let database = Server::shared().database().await;
    let mut subscription = {
        let listener = database.listener().await;
        listener.subscribe::<u32>("c").await.unwrap()
    };
    database.execute("SELECT notify_json('c', '1')").await;
    assert_eq!(next_message(&mut subscription).await, 1);
}

#[tokio::test]
async fn a_slow_subscriber_is_told_and_disturbs_nobody() {
    let database = Server::shared().database().await;
    let config: notify_json_client::ListenerConfig = database.url().parse().unwrap();
    let bounds = Bounds { messages: 100, ..Bounds::default() };
    let listener = config.bounds(bounds).connect().await.unwrap();
    let mut slow = listener.subscribe::<u32>("c").await.unwrap();
    let mut fast = listener.subscribe::<u32>("c").await.unwrap();
    let client = database.connect().await;
    for number in 0..1_000_u32 {
        notify_json_client::publish(&client, "c", &number).await.unwrap();
        assert_eq!(next_message(&mut fast).await, number);
    }
    let gap = slow.recv().await.unwrap().unwrap();
    assert_eq!(gap, Event::Gap(notify_json_client::Gap::Lagged { missed: 900 }));
    assert_eq!(drain(&mut slow, 100).await, (900..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn connecting_to_nothing_fails_with_the_cause() {
    let url = "postgres://postgres@127.0.0.1:1/none";
    let error = Listener::connect(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(format!("{error:?}").contains("ConnectionRefused"), "{error:?}");
    let error = Listener::connect("postgres://x:y:z").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
