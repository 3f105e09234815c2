//! A channel that is dropped and created again is another one: what was published on the old one is
//! gone for good, whenever its transaction ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify_json_tests::Database;
use tokio_postgres::Client;

use super::{Reader, column, database, pid, publish, refused, run, until_blocked, value};

const DROP: &str = "SELECT notify_json.drop_channel('d')";
const CREATE: &str = "SELECT notify_json.create_channel('d')";

async fn sessions(database: &Database) -> (Client, Client) {
    (database.connect().await, database.connect().await)
}

/// What a new consumer, an old replay from the earliest event and the views say there is.
async fn expect(client: &Client, consumer: &str, expected: &[&str]) {
    let sql = format!("SELECT payload::text FROM notify_json.fetch('{consumer}', 'd')");
    assert_eq!(column::<String>(client, &sql).await, expected);
    let mut reader = Reader::start(client, "earliest").await;
    assert_eq!(reader.drain(client, 100).await, expected);
    let mut reader = Reader::start(client, "-infinity").await;
    assert_eq!(reader.drain(client, 100).await, expected);
    let lag = "SELECT coalesce(max(lag_events), 0) FROM notify_json.consumers";
    assert_eq!(value::<i64>(client, lag).await, expected.len() as i64);
    let none = "SELECT oldest_event_at IS NULL FROM notify_json.channels";
    assert_eq!(value::<bool>(client, none).await, expected.is_empty());
}

/// Has retention remove all events that there are.
async fn expire(client: &Client) {
    run(client, "UPDATE notify_json.event SET published_at = '2020-01-01'").await;
    while value::<i64>(client, "SELECT notify_json.prune()").await > 0 {}
}

#[tokio::test]
async fn what_is_committed_while_there_is_no_channel_is_gone() {
    for drop in [DROP, "DELETE FROM notify_json.channel"] {
        let database = database().await;
        let (owner, writer) = sessions(&database).await;
        publish(&writer, "1").await;
        run(&writer, "BEGIN").await;
        publish(&writer, "2").await;
        run(&owner, drop).await;
        // It keeps the policy that its transaction began with.
        publish(&writer, "3").await;
        run(&writer, "COMMIT").await;
        run(&owner, CREATE).await;
        expect(&owner, "c", &[]).await;
        publish(&writer, "4").await;
        expect(&owner, "c", &["4"]).await;
        assert_eq!(value::<i64>(&owner, "SELECT notify_json.prune()").await, 0);
    }
}

#[tokio::test]
async fn what_was_published_on_the_old_channel_never_comes_on_the_new_one() {
    for isolation in ["READ COMMITTED", "REPEATABLE READ"] {
        let database = database().await;
        let (owner, writer) = sessions(&database).await;
        publish(&owner, "1").await;
        run(&writer, "BEGIN").await;
        publish(&writer, "2").await;
        run(&owner, &format!("BEGIN ISOLATION LEVEL {isolation}; TABLE notify_json.event")).await;
        // At REPEATABLE READ, it leaves an event that its snapshot does not see.
        publish(&database.connect().await, "0").await;
        run(&owner, &format!("{DROP}; {CREATE}; COMMIT")).await;
        run(&owner, "SELECT * FROM notify_json.fetch('c', 'd')").await;
        publish(&owner, "3").await;
        expect(&owner, "new", &["3"]).await;
        publish(&writer, "4").await;
        run(&writer, "COMMIT").await;
        expect(&owner, "newer", &["3", "4"]).await;
        expect(&owner, "c", &["3", "4"]).await;
        // The others are removed in time, and nobody has missed them.
        expire(&owner).await;
        assert_eq!(value::<i64>(&owner, "SELECT count(*) FROM notify_json.event").await, 0);
        let skipped = "SELECT string_agg(skipped::text, ' ') FROM notify_json.consumers";
        assert_eq!(value::<String>(&owner, skipped).await, "2 2 2");
        let removed = "SELECT sum(events)::bigint FROM notify_json.removal";
        assert_eq!(value::<i64>(&owner, removed).await, 2);
    }
}

#[tokio::test]
async fn dropping_and_creating_waits_for_no_publisher_and_holds_up_none() {
    let database = database().await;
    let (owner, writer) = sessions(&database).await;
    run(&owner, "SELECT notify_json.create_channel('e')").await;
    run(&owner, "SET statement_timeout = '10s'").await;
    run(&writer, "SET statement_timeout = '10s'; BEGIN").await;
    publish(&writer, "1").await;
    run(&owner, &format!("BEGIN; {DROP}; {CREATE}")).await;
    publish(&writer, "2").await;
    run(&writer, "SELECT notify_json('e', '3'); COMMIT").await;
    publish(&writer, "4").await;
    run(&writer, "SELECT notify_json('e', '5')").await;
    run(&owner, "COMMIT").await;
    let sql = "SELECT payload::text FROM notify_json.fetch('c', 'e')";
    assert_eq!(column::<String>(&owner, sql).await, ["3", "5"]);
}

#[tokio::test]
async fn a_transaction_that_creates_a_consumer_and_uses_another_and_dropping_do_not_deadlock() {
    let database = database().await;
    let (owner, reader) = sessions(&database).await;
    run(&owner, "SELECT notify_json.fetch('c', 'd')").await;
    run(&reader, "BEGIN; SELECT notify_json.fetch('new', 'd')").await;
    let pid = pid(&owner).await;
    tokio::join!(run(&owner, DROP), async {
        until_blocked(&reader, pid).await;
        run(&reader, "SELECT notify_json.fetch('c', 'd'); COMMIT").await;
    });
    assert_eq!(value::<i64>(&owner, "SELECT count(*) FROM notify_json.consumer").await, 0);
}

#[tokio::test]
async fn dropping_waits_as_long_as_lock_timeout_says() {
    let database = database().await;
    let (owner, reader) = sessions(&database).await;
    run(&reader, "BEGIN; SELECT notify_json.fetch('c', 'd')").await;
    run(&owner, "SET lock_timeout = '200ms'").await;
    let error = owner.batch_execute(DROP).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03");
    assert_eq!(value::<String>(&owner, "SHOW lock_timeout").await, "200ms");
    run(&reader, "COMMIT").await;
    run(&owner, DROP).await;
}

/// With an event of the old channel left over, and pruning that takes long before it comes to it.
#[tokio::test]
async fn pruning_keeps_what_comes_on_a_channel_that_is_created_meanwhile() {
    let database = database().await;
    let (owner, writer) = sessions(&database).await;
    let slow = "DO $$ BEGIN FOR n IN 10..29 LOOP
            PERFORM notify_json.create_channel('a' || n), notify_json('a' || n, '1');
        END LOOP; END $$;
        SELECT notify_json.fetch('c', 'a' || n) FROM generate_series(10, 29) AS n;
        UPDATE notify_json.event SET published_at = '2020-01-01'";
    run(&owner, slow).await;
    run(&writer, "BEGIN").await;
    publish(&writer, "1").await;
    run(&owner, DROP).await;
    run(&writer, "COMMIT; BEGIN; SELECT FROM notify_json.consumer FOR UPDATE").await;
    let pruning = database.connect().await;
    let pid = pid(&pruning).await;
    tokio::join!(run(&pruning, "SELECT notify_json.prune()"), async {
        until_blocked(&owner, pid).await;
        run(&owner, CREATE).await;
        publish(&owner, "2").await;
    });
    run(&writer, "COMMIT").await;
    let rest = "SELECT payload::text FROM notify_json.fetch('c', 'd')";
    assert_eq!(column::<String>(&owner, rest).await, ["2"]);
}

/// A second change of a consumer makes the server look for its channel again.
#[tokio::test]
async fn a_transaction_that_changes_a_consumer_twice_and_dropping_do_not_deadlock() {
    let database = database().await;
    let (owner, reader) = sessions(&database).await;
    run(&owner, "SELECT notify_json.fetch('c', 'd')").await;
    publish(&owner, "1").await;
    run(&reader, "BEGIN; SELECT notify_json.fetch('c', 'd')").await;
    let pid = pid(&owner).await;
    tokio::join!(run(&owner, DROP), async {
        until_blocked(&reader, pid).await;
        let last = "SELECT notify_json.ack('c', 'd', max(id)) FROM notify_json.event; COMMIT";
        run(&reader, last).await;
    });
    assert_eq!(value::<i64>(&owner, "SELECT count(*) FROM notify_json.consumer").await, 0);
}

#[tokio::test]
async fn replays_are_told_of_what_retention_removed_from_the_new_channel() {
    let database = database().await;
    let (owner, _) = sessions(&database).await;
    let many = "SELECT notify_json('d', to_json(n)) FROM generate_series(1, 100) n";
    run(&owner, many).await;
    expire(&owner).await;
    let Reader { window, after } = Reader::start(&owner, "latest").await;
    let missed = |mark: &str| format!("FROM notify_json.missed('d', '{window}', {after}, {mark})");
    let mark: String = value(&owner, &format!("SELECT next_mark {}", missed("NULL"))).await;
    run(&owner, &format!("{DROP}; {CREATE}")).await;
    run(&owner, &many.replace("100", "50")).await;
    expire(&owner).await;
    let skipped = format!("SELECT skipped {}", missed(&format!("'{mark}'")));
    assert_eq!(value::<i64>(&owner, &skipped).await, 50);
}

#[tokio::test]
async fn a_channel_that_exists_keeps_its_events() {
    let database = database().await;
    let (owner, _) = sessions(&database).await;
    publish(&owner, "1").await;
    super::refused(&owner, CREATE, "42710").await;
    expect(&owner, "c", &["1"]).await;
}

/// Who publishes meanwhile waits, and goes on: on a live channel or on the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_extension_is_dropped_and_created_under_load() {
    let database = database().await;
    let (owner, done) = (database.connect().await, Arc::new(AtomicBool::new(false)));
    let mut publishers = Vec::new();
    for _ in 0..6 {
        let (client, done) = (database.connect().await, done.clone());
        publishers.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                run(&client, "SELECT notify_json('d', '1')").await;
            }
        }));
    }
    let again = format!("DROP EXTENSION notify_json; CREATE EXTENSION notify_json; {CREATE}");
    for _ in 0..20 {
        run(&owner, &again).await;
    }
    done.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await.unwrap();
    }
}

#[tokio::test]
async fn whoever_waits_for_one_that_is_dropped_is_told_so() {
    for consumer in ["new", "c"] {
        let database = database().await;
        let (owner, reader) = sessions(&database).await;
        run(&owner, "SELECT notify_json.fetch('c', 'd')").await;
        for statement in ["fetch", "seek"] {
            let sql = match statement {
                "fetch" => format!("SELECT notify_json.fetch('{consumer}', 'd')"),
                _ => format!("SELECT notify_json.seek('{consumer}', 'd', 'latest')"),
            };
            run(&owner, &format!("BEGIN; {DROP}")).await;
            let pid = pid(&reader).await;
            let (error, ()) = tokio::join!(refused(&reader, &sql, "42704"), async {
                until_blocked(&database.connect().await, pid).await;
                run(&owner, "COMMIT").await;
            });
            assert_eq!(error.message(), "channel \"d\" does not exist", "{sql}");
            run(&owner, CREATE).await;
            run(&owner, "SELECT notify_json.fetch('c', 'd')").await;
        }
    }
}
