//! Consumers in SQL: fetch, ack, seek, and what they refuse.

use notify_json_tests::Server;
use tokio_postgres::{Client, GenericClient};

use super::{column, database, pid, publish, refused, run, until_blocked, value};

/// The ids that a consumer is given.
async fn fetch(client: &impl GenericClient, consumer: &str, max_events: i32) -> Vec<i64> {
    column(client, &format!("SELECT id FROM notify_json.fetch('{consumer}', 'd', {max_events})"))
        .await
}

async fn ack(client: &Client, consumer: &str, id: i64) {
    run(client, &format!("SELECT notify_json.ack('{consumer}', 'd', {id})")).await;
}

/// A column of a consumer in the view.
async fn seen<T: tokio_postgres::types::FromSqlOwned>(client: &Client, name: &str) -> T {
    value(client, &format!("SELECT {name} FROM notify_json.consumers WHERE consumer = 'c'")).await
}

#[tokio::test]
async fn the_same_events_until_they_are_acked() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json('d', to_json(n)) FROM generate_series(1, 9) n").await;
    for _ in 0..3 {
        assert_eq!(fetch(&client, "c", 4).await, [1, 2, 3, 4]);
    }
    assert_eq!(fetch(&client, "c", 2).await, [1, 2]);
    ack(&client, "c", 3).await;
    assert_eq!(seen::<i64>(&client, "lag_events").await, 6);
    assert_eq!(fetch(&client, "c", 100).await, [4, 5, 6, 7, 8, 9]);
    publish(&client, "10").await;
    assert_eq!(fetch(&client, "other", 100).await.len(), 10, "consumers are independent");
    ack(&client, "c", 9).await;
    assert_eq!(fetch(&client, "c", 100).await, [10]);
    run(&client, "BEGIN; SELECT notify_json.ack('c', 'd', 10); ROLLBACK").await;
    assert_eq!(fetch(&client, "c", 100).await, [10]);
    ack(&client, "c", 10).await;
    assert_eq!(seen::<i64>(&client, "lag_events").await, 0);
    assert_eq!(seen::<Option<f64>>(&client, "lag_seconds").await, None);
    for _ in 0..3 {
        assert!(fetch(&client, "c", 100).await.is_empty());
    }
    assert!(seen::<bool>(&client, "acked_at > created_at AND NOT held").await);
}

#[tokio::test]
async fn fetching_nothing_many_times_in_one_transaction() {
    for level in ["READ COMMITTED", "REPEATABLE READ"] {
        let client = database().await.connect().await;
        run(&client, &format!("BEGIN ISOLATION LEVEL {level}")).await;
        for _ in 0..5 {
            assert!(fetch(&client, "c", 100).await.is_empty());
        }
        assert_eq!(publish(&client, "1").await, 1);
        assert!(fetch(&client, "c", 100).await.is_empty(), "not committed");
        run(&client, "COMMIT").await;
        assert_eq!(fetch(&client, "c", 100).await, [1]);
    }
}

#[tokio::test]
async fn an_ack_must_be_of_what_was_fetched() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json('d', to_json(n)) FROM generate_series(1, 9) n").await;
    refused(&client, "SELECT notify_json.ack('c', 'd', 1)", "42704").await;
    fetch(&client, "c", 3).await;
    for id in ["0", "4", "NULL"] {
        let error =
            refused(&client, &format!("SELECT notify_json.ack('c', 'd', {id})"), "22023").await;
        assert_eq!(error.message(), format!("event {id} is not among those fetched"));
        let detail = "Those that wait for their ack have ids after 0 and up to 3.";
        assert_eq!(error.detail(), Some(detail));
    }
    ack(&client, "c", 3).await;
    let error = refused(&client, "SELECT notify_json.ack('c', 'd', 3)", "22023").await;
    assert_eq!(error.detail(), Some("No fetched event waits for its ack."));
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json.create_channel('live', durable => false)").await;
    for (call, creates) in [
        ("fetch('c', ?)", true),
        ("claim('c', ?, '1 minute')", true),
        ("seek('c', ?, 'latest')", true),
        ("ack('c', ?, 1)", true),
        ("start(?, 'earliest')", true),
        ("read(?, '3:3:;0;3:3:;0;0', 0, 1, 1, 1)", true),
        ("alter_channel(?, durable => true)", false),
        ("drop_channel(?)", false),
    ] {
        let sql = |channel: &str| format!("SELECT notify_json.{}", call.replace('?', channel));
        let error = refused(&client, &sql("'x''y'"), "42704").await;
        assert_eq!(error.message(), "channel \"x'y\" does not exist");
        let hint = "SELECT notify_json.create_channel('x''y') makes it durable.";
        assert_eq!(error.hint(), Some(hint));
        refused(&client, &sql("NULL"), "22023").await;
        if creates {
            let error = refused(&client, &sql("'live'"), "55000").await;
            assert!(error.hint().unwrap().contains("alter_channel('live', durable => true)"));
        }
    }
    let error = refused(&client, "SELECT notify_json.create_channel('d')", "42710").await;
    assert_eq!(error.message(), "channel \"d\" already exists");
    refused(&client, "SELECT notify_json.drop_consumer('c', 'd')", "42704").await;
}

#[tokio::test]
async fn bad_arguments_are_refused() {
    let client = database().await.connect().await;
    for call in [
        "create_channel(NULL)",
        "create_channel('')",
        "create_channel(repeat('é', 32))",
        "create_channel('x', durable => NULL)",
        "create_channel('x', retention => NULL)",
        "create_channel('x', retention => '0')",
        "create_channel('x', retention => '-1 day')",
        "create_channel('x', retention => '2000 years')",
        "alter_channel('d', retention => '0')",
        "fetch('', 'd')",
        "fetch(NULL, 'd')",
        "fetch(repeat('x', 64), 'd')",
        "fetch('c', 'd', 0)",
        "fetch('c', 'd', NULL)",
        "claim('c', 'd', NULL)",
        "claim('c', 'd', '0')",
        "renew('c', 'd', 1, '2 years')",
        "ack(NULL, 'd', 1)",
        "drop_consumer(NULL, 'd')",
        "drop_consumer('c', NULL)",
        "start('d', NULL)",
        "start('d', 'yesterday evening')",
        "start('d', '2026-13-01')",
        "seek('c', 'd', 'first')",
        "read('d', NULL, 0, 1, 1, 1)",
        "read('d', '3:3:;0;3:3:;0;0', 0, 0, 1, 1)",
        "attend(NULL)",
        "attend('')",
    ] {
        refused(&client, &format!("SELECT notify_json.{call}"), "22023").await;
    }
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM notify_json.consumer").await, 0);
}

#[tokio::test]
async fn seek_moves_to_earliest_latest_and_times() {
    let client = database().await.connect().await;
    for number in 1..10 {
        publish(&client, &number.to_string()).await;
    }
    let age = "UPDATE notify_json.event SET published_at = '2026-01-01 00:00+00'::timestamptz
                   + (id - 20) * interval '1 hour' WHERE id <= 9";
    run(&client, age).await;
    for (since, expected) in [
        ("'earliest'", (1..10).collect::<Vec<i64>>()),
        ("'latest'", vec![]),
        ("'2025-12-31 10:00+00'", (6..10).collect()),
        ("'2025-12-31 10:00:01+00'", (7..10).collect()),
        ("timestamptz '2025-12-31 12:00+00'", (8..10).collect()),
        ("'-infinity'", (1..10).collect()),
        ("'infinity'", vec![]),
        ("now()", vec![]),
    ] {
        run(&client, &format!("SELECT notify_json.seek('c', 'd', {since})")).await;
        assert_eq!(fetch(&client, "c", 100).await, expected, "{since}");
    }
    let new = publish(&client, "10").await;
    assert_eq!(fetch(&client, "c", 100).await, [new]);
}

#[tokio::test]
async fn a_time_is_found_in_a_long_history() {
    let client = database().await.connect().await;
    let sql = "SELECT notify_json('d', to_json(n)), notify_json('e', '0')
               FROM generate_series(1, 10000) n";
    run(&client, sql).await;
    // An event a minute on one channel, with some disorder.
    let age = "UPDATE notify_json.event SET published_at = '2026-01-01 00:00+00'::timestamptz
                   + (id + id % 7) * interval '1 second' WHERE channel = 'd'";
    run(&client, age).await;
    for time in ["00:00:05", "00:30:00", "01:23:45", "02:46:44", "02:46:47"] {
        let expected = format!(
            "SELECT min(id) FROM notify_json.event
             WHERE channel = 'd' AND published_at >= '2026-01-01 {time}+00'"
        );
        let expected: Option<i64> = value(&client, &expected).await;
        run(&client, &format!("SELECT notify_json.seek('c', 'd', '2026-01-01 {time}+00')")).await;
        assert_eq!(fetch(&client, "c", 1).await.first().copied(), expected, "{time}");
    }
}

#[tokio::test]
async fn two_sessions_of_one_consumer_take_turns() {
    let database = database().await;
    let (first, second) = (database.connect().await, database.connect().await);
    let watcher = database.connect().await;
    run(&first, "SELECT notify_json('d', to_json(n)) FROM generate_series(1, 4) n").await;
    let second_pid = pid(&second).await;
    run(&first, "BEGIN").await;
    assert_eq!(fetch(&first, "c", 2).await, [1, 2]);
    let (next, ()) = tokio::join!(fetch(&second, "c", 2), async {
        until_blocked(&watcher, second_pid).await;
        ack(&first, "c", 2).await;
        run(&first, "COMMIT").await;
    });
    assert_eq!(next, [3, 4]);
}

#[tokio::test]
async fn an_older_snapshot_cannot_fetch_again() {
    let database = database().await;
    let (first, second) = (database.connect().await, database.connect().await);
    publish(&first, "1").await;
    fetch(&first, "c", 1).await;
    run(&second, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM notify_json.event").await;
    ack(&first, "c", 1).await;
    let error = second.batch_execute("SELECT notify_json.fetch('c', 'd')").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "40001");
}

#[tokio::test]
async fn dropping_and_creating_again_starts_anew() {
    let client = database().await.connect().await;
    publish(&client, "1").await;
    assert_eq!(fetch(&client, "c", 1).await, [1]);
    ack(&client, "c", 1).await;
    run(&client, "SELECT notify_json.drop_consumer('c', 'd')").await;
    assert_eq!(fetch(&client, "c", 1).await, [1]);
    run(&client, "SELECT notify_json.drop_channel('d'), notify_json.create_channel('d')").await;
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM notify_json.holder").await, 0);
    assert!(fetch(&client, "c", 1).await.is_empty());
    publish(&client, "2").await;
    assert_eq!(fetch(&client, "c", 1).await, [2]);
}

#[tokio::test]
async fn the_view_of_channels() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    run(&client, "SELECT notify_json.create_channel('d', retention => '1 day')").await;
    fetch(&client, "c", 1).await;
    let sql = "SELECT name = 'd' AND durable AND retention = '1 day' AND consumers = 1
                   AND oldest_event_at IS NULL FROM notify_json.channels";
    assert!(value::<bool>(&client, sql).await);
    run(&client, "SELECT notify_json('d', '1'), notify_json('d', '2')").await;
    let sql = "SELECT oldest_event_at < newest_event_at FROM notify_json.channels";
    assert!(value::<bool>(&client, sql).await);
}
