//! What `prune()` removes, what it leaves, and that consumers are told exactly what they missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify_json_tests::Server;
use tokio_postgres::Client;

use super::{Reader, column, database, publish, refused, run, until, value};

async fn prune(client: &Client) -> i64 {
    value(client, "SELECT notify_json.prune()").await
}

/// Publishes so many events on a channel, as if it were that long ago.
async fn publish_past(client: &Client, channel: &str, count: usize, ago: &str) {
    let sql = format!(
        "SELECT notify_json('{channel}', to_json(n)) FROM generate_series(1, {count}) n;
         UPDATE notify_json.event SET published_at = now() - interval '{ago}'
         WHERE xid = pg_current_xact_id()"
    );
    run(client, &format!("BEGIN; {sql}; COMMIT")).await;
}

/// Fetches so many events and acks them.
async fn consume(client: &Client, consumer: &str, count: i32) {
    let sql = format!("SELECT id FROM notify_json.fetch('{consumer}', 'd', {count})");
    if let Some(last) = column::<i64>(client, &sql).await.last() {
        run(client, &format!("SELECT notify_json.ack('{consumer}', 'd', {last})")).await;
    }
}

/// What each consumer has missed.
async fn skipped(client: &Client) -> Vec<(String, i64)> {
    let sql = "SELECT consumer, skipped FROM notify_json.consumers ORDER BY consumer";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn count(client: &Client) -> i64 {
    value(client, "SELECT count(*) FROM notify_json.event").await
}

#[tokio::test]
async fn a_leaf_that_is_over_is_emptied_and_losses_are_counted() {
    let client = database().await.connect().await;
    publish_past(&client, "d", 10, "8 days").await;
    consume(&client, "all", 100).await;
    consume(&client, "some", 3).await;
    run(&client, "SELECT * FROM notify_json.fetch('none', 'd', 5)").await;
    run(&client, "SELECT notify_json.seek('late', 'd', 'latest')").await;
    run(&client, "SELECT notify_json.ensure_consumer('new', 'd')").await;
    let file = "SELECT sum(pg_relation_filenode(relid)::bigint)::bigint
                FROM pg_partition_tree('notify_json.event') WHERE isleaf";
    let before: i64 = value(&client, file).await;
    assert_eq!(prune(&client).await, 10);
    assert_ne!(value::<i64>(&client, file).await, before, "TRUNCATE");
    let expected = [("all", 0), ("late", 0), ("new", 10), ("none", 10), ("some", 7)];
    assert_eq!(skipped(&client).await, expected.map(|(name, n)| (name.to_owned(), n)));
    assert_eq!(prune(&client).await, 0);

    let id = publish(&client, "11").await;
    for (consumer, _) in expected {
        let sql = format!("SELECT id FROM notify_json.fetch('{consumer}', 'd')");
        assert_eq!(column::<i64>(&client, &sql).await, [id], "{consumer}");
        run(&client, &format!("SELECT notify_json.ack('{consumer}', 'd', {id})")).await;
    }
    assert!(skipped(&client).await.iter().all(|(_, skipped)| *skipped == 0), "acked");
    assert_eq!(prune(&client).await, 0);
    assert_eq!(count(&client).await, 1);
}

#[tokio::test]
async fn nothing_that_is_to_be_kept_is_removed() {
    let client = database().await.connect().await;
    publish_past(&client, "d", 5, "6 days 23 hours").await;
    publish_past(&client, "d", 5, "1 second").await;
    assert_eq!(prune(&client).await, 0);
    assert_eq!(count(&client).await, 10);
    run(&client, "SELECT notify_json.alter_channel('d', retention => '8 days')").await;
    publish_past(&client, "d", 5, "7 days 23 hours").await;
    assert_eq!(prune(&client).await, 0);
    assert_eq!(count(&client).await, 15);
}

#[tokio::test]
async fn a_channel_with_a_shorter_retention_loses_its_events_one_by_one() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json.create_channel('short', retention => '1 hour')").await;
    publish_past(&client, "short", 4, "2 hours").await;
    publish_past(&client, "d", 4, "2 hours").await;
    publish_past(&client, "short", 4, "2 minutes").await;
    run(&client, "SELECT notify_json.ensure_consumer('s', 'short')").await;
    consume(&client, "c", 1).await;
    assert_eq!(prune(&client).await, 4);
    assert_eq!(skipped(&client).await, [("c".to_owned(), 0), ("s".to_owned(), 4)]);
    let left = "SELECT channel || count(*) FROM notify_json.event GROUP BY channel ORDER BY 1";
    assert_eq!(column::<String>(&client, left).await, ["d4", "short4"]);
}

#[tokio::test]
async fn what_the_ring_has_caught_up_with_is_removed_one_by_one() {
    let client = database().await.connect().await;
    publish_past(&client, "d", 6, "9 days").await;
    publish_past(&client, "d", 6, "7 days 12 hours").await;
    publish_past(&client, "d", 6, "1 hour").await;
    consume(&client, "c", 2).await;
    assert_eq!(prune(&client).await, 6, "the others leave with their leaf");
    assert_eq!(skipped(&client).await, [("c".to_owned(), 4)]);
    assert_eq!(count(&client).await, 12);
}

#[tokio::test]
async fn events_of_no_channel_are_removed() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json.create_channel('gone')").await;
    publish_past(&client, "gone", 5, "1 second").await;
    publish_past(&client, "d", 5, "1 second").await;
    run(&client, "DELETE FROM notify_json.channel WHERE name = 'gone'").await;
    assert_eq!(prune(&client).await, 5);
    run(&client, "DELETE FROM notify_json.channel").await;
    assert_eq!(prune(&client).await, 5);
}

#[tokio::test]
async fn a_channel_that_became_live_keeps_its_retention() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json.create_channel('short', retention => '1 hour')").await;
    publish_past(&client, "d", 5, "6 days").await;
    run(&client, "SELECT notify_json.alter_channel('d', durable => false)").await;
    assert_eq!(prune(&client).await, 0);
    run(&client, "SELECT notify_json.alter_channel('d', retention => '5 days')").await;
    assert_eq!(prune(&client).await, 5);
}

#[tokio::test]
async fn a_leaf_with_an_open_writer_stays() {
    let database = database().await;
    let (client, writer) = (database.connect().await, database.connect().await);
    publish_past(&client, "d", 5, "8 days").await;
    run(&client, "SELECT notify_json.ensure_consumer('c', 'd')").await;
    run(&writer, "BEGIN").await;
    publish(&writer, "6").await;
    assert_eq!(prune(&client).await, 0);
    assert_eq!(skipped(&client).await, [("c".to_owned(), 0)]);
    run(&writer, "COMMIT").await;
    assert_eq!(prune(&client).await, 0, "it has a new event");
    run(&client, "UPDATE notify_json.event SET published_at = '2020-01-01'").await;
    assert_eq!(prune(&client).await, 6);
    assert_eq!(skipped(&client).await, [("c".to_owned(), 6)]);
}

#[tokio::test]
async fn a_leaf_that_is_read_or_acked_in_an_open_transaction_stays() {
    let database = database().await;
    let (client, reader) = (database.connect().await, database.connect().await);
    publish_past(&client, "d", 5, "8 days").await;
    for reading in ["SELECT * FROM notify_json.fetch('c', 'd', 2)", "TABLE notify_json.event"] {
        run(&reader, &format!("BEGIN; {reading}")).await;
        assert_eq!(prune(&client).await, 0);
        run(&reader, "COMMIT").await;
    }
    run(&reader, "BEGIN; SELECT notify_json.ack('c', 'd', 2)").await;
    assert_eq!(prune(&client).await, 0);
    run(&reader, "ROLLBACK").await;
    // Who is not behind does not hold it up.
    run(&reader, "SELECT notify_json.ack('c', 'd', 2)").await;
    run(&reader, "SELECT notify_json.seek('new', 'd', 'latest')").await;
    run(&reader, "BEGIN; UPDATE notify_json.consumer SET acked_at = now() WHERE name = 'new'")
        .await;
    assert_eq!(prune(&client).await, 5);
    run(&reader, "COMMIT").await;
    assert_eq!(skipped(&client).await, [("c".to_owned(), 3), ("new".to_owned(), 0)]);
}

#[tokio::test]
async fn pruning_holds_up_nobody() {
    let database = database().await;
    let (client, other) = (database.connect().await, database.connect().await);
    publish_past(&client, "d", 5, "8 days").await;
    run(&client, "BEGIN").await;
    assert_eq!(prune(&client).await, 5);
    assert_eq!(prune(&other).await, 0, "one at a time");
    run(&client, "ROLLBACK").await;
    assert_eq!(prune(&other).await, 5);
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        run(&client, &format!("BEGIN ISOLATION LEVEL {level}")).await;
        refused(&client, "SELECT notify_json.prune()", "25000").await;
        run(&client, "ROLLBACK").await;
    }
    // Which is the same as READ COMMITTED, under another name.
    run(&client, "BEGIN ISOLATION LEVEL READ UNCOMMITTED; SELECT notify_json.prune()").await;
}

/// While prune() counts what is lost, readers, publishers and other consumers go on; and nothing is
/// removed that was not counted.
#[tokio::test]
async fn counting_holds_up_nobody() {
    let read =
        "SELECT count(*) = 11 FROM notify_json.read('d', '3:3:;0;3:3:;0;0', 0, 100, 1000, 10)";
    let fetch = "SELECT count(*) = 10 FROM notify_json.fetch('new', 'd')";
    for (meanwhile, removed) in [
        (read, 10),
        ("SELECT notify_json.seek('new', 'd', 'latest') IS NOT NULL", 10),
        (fetch, 0),
        ("SELECT notify_json('d', '11') > 10", 0),
        ("SELECT notify_json.alter_channel('d', retention => '9 days') IS NOT NULL", 0),
    ] {
        let database = database().await;
        let (client, gate) = (database.connect().await, database.connect().await);
        publish_past(&client, "d", 10, "8 days").await;
        consume(&client, "c", 3).await;
        let wait = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_advisory_xact_lock(2);
                WHILE NOT pg_try_advisory_xact_lock(1) LOOP PERFORM pg_sleep(0.001); END LOOP;
                RETURN NEW;
            END $$;
            CREATE TRIGGER wait BEFORE INSERT ON notify_json.removal
            FOR EACH ROW EXECUTE FUNCTION wait()";
        run(&client, wait).await;
        run(&gate, "SET statement_timeout = '10s'; SELECT pg_advisory_lock(1)").await;
        let (pruned, ()) = tokio::join!(prune(&client), async {
            let waits = "SELECT count(*) = 1 FROM pg_locks
                         WHERE locktype = 'advisory' AND objid = 2 AND granted
                             AND database = (SELECT oid FROM pg_database
                                             WHERE datname = current_database())";
            until(&gate, waits).await;
            assert!(value::<bool>(&gate, meanwhile).await, "{meanwhile}");
            run(&gate, "SELECT pg_advisory_unlock(1)").await;
        });
        assert_eq!(pruned, removed, "{meanwhile}");
        let lost = "SELECT skipped FROM notify_json.consumers WHERE consumer = 'c'";
        assert_eq!(value::<i64>(&client, lost).await, if removed > 0 { 7 } else { 0 });
        assert_eq!(count(&client).await >= 10, removed == 0, "{meanwhile}");
    }
}

/// In SQL a consumer looks at its count between fetch() and ack(); what comes later must stay.
#[tokio::test]
async fn what_is_lost_after_a_fetch_is_told_after_the_next() {
    let client = database().await.connect().await;
    publish_past(&client, "d", 10, "8 days").await;
    let fetch = "SELECT id FROM notify_json.fetch('c', 'd', 3)";
    assert_eq!(column::<i64>(&client, fetch).await, [1, 2, 3]);
    assert_eq!(prune(&client).await, 10);
    run(&client, "SELECT notify_json.ack('c', 'd', 3)").await;
    assert_eq!(skipped(&client).await, [("c".to_owned(), 10)]);
    let id = publish(&client, "11").await;
    assert_eq!(column::<i64>(&client, fetch).await, [id]);
    assert_eq!(skipped(&client).await, [("c".to_owned(), 10)]);
    run(&client, &format!("SELECT notify_json.ack('c', 'd', {id})")).await;
    assert_eq!(skipped(&client).await, [("c".to_owned(), 0)]);
}

#[tokio::test]
async fn a_call_empties_one_leaf() {
    let client = database().await.connect().await;
    for slot in 0..3 {
        publish_past(&client, "d", 2, "8 days").await;
        // A row that moves to another leaf keeps its id.
        let sql = format!("UPDATE notify_json.event SET slot = {slot} WHERE id > 2 * {slot}");
        run(&client, &sql).await;
    }
    consume(&client, "c", 1).await;
    for left in [4, 2, 0] {
        assert_eq!(prune(&client).await, 2);
        assert_eq!(count(&client).await, left);
    }
    assert_eq!(prune(&client).await, 0);
    assert_eq!(skipped(&client).await, [("c".to_owned(), 5)]);
}

#[tokio::test]
async fn an_event_published_before_a_position_and_committed_after_it_counts() {
    let database = database().await;
    let (client, writer) = (database.connect().await, database.connect().await);
    run(&writer, "BEGIN").await;
    publish(&writer, "1").await;
    publish(&client, "2").await;
    consume(&client, "c", 100).await;
    run(&writer, "COMMIT").await;
    run(&client, "UPDATE notify_json.event SET published_at = '2020-01-01'").await;
    assert_eq!(prune(&client).await, 2);
    assert_eq!(skipped(&client).await, [("c".to_owned(), 1)]);
}

#[tokio::test]
async fn a_reader_goes_on_after_what_was_removed() {
    let client = database().await.connect().await;
    publish_past(&client, "d", 10, "8 days").await;
    let mut reader = Reader::start(&client, "earliest").await;
    assert_eq!(reader.page(&client, 3).await.len(), 3);
    assert_eq!(prune(&client).await, 10);
    let id = publish(&client, "11").await;
    assert_eq!(reader.page(&client, 3).await, [(id, "11".to_owned())]);
}

/// Every event is either consumed or counted as skipped, whoever does what at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumed_and_skipped_are_all_there_is() {
    let database = database().await;
    let client = database.connect().await;
    let retention = "SELECT notify_json.alter_channel('d', retention => '300 milliseconds'),
                     notify_json.create_channel('long', retention => '1 hour')";
    run(&client, retention).await;
    run(&client, "SELECT notify_json.ensure_consumer('c', 'd')").await;
    for long in [true, false] {
        // With a longer retention beside it events go one by one, without it leaf by leaf.
        run(&client, &format!("SELECT notify_json.alter_channel('long', durable => {long})")).await;
        let done = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for _ in 0..2 {
            let client = database.connect().await;
            writers.push(tokio::spawn(async move {
                for round in 0..600 {
                    let end = if round % 5 == 0 { "ROLLBACK" } else { "COMMIT" };
                    let sql = "BEGIN; SELECT notify_json('d', '1'), notify_json('d', '2')";
                    run(&client, &format!("{sql}; {end}")).await;
                }
            }));
        }
        let pruner = database.connect().await;
        let pruning = tokio::spawn({
            let done = done.clone();
            async move {
                let mut removed = 0;
                while !done.load(Ordering::Relaxed) {
                    removed += prune(&pruner).await;
                }
                removed
            }
        });
        let consumer = database.connect().await;
        let consuming = tokio::spawn({
            let done = done.clone();
            async move {
                let (mut consumed, mut skipped) = (0, 0);
                loop {
                    let is_done = done.load(Ordering::Relaxed);
                    run(&consumer, "BEGIN").await;
                    let sql = "SELECT id FROM notify_json.fetch('c', 'd', 7)";
                    let ids: Vec<i64> = column(&consumer, sql).await;
                    let sql = "SELECT skipped - told FROM notify_json.consumer";
                    let missed: i64 = value(&consumer, sql).await;
                    if let Some(last) = ids.last() {
                        let sql = format!("SELECT notify_json.ack('c', 'd', {last})");
                        run(&consumer, &sql).await;
                        skipped += missed;
                        consumed += ids.len() as i64;
                    }
                    run(&consumer, "COMMIT").await;
                    if is_done && ids.is_empty() {
                        return (consumed, skipped + missed);
                    }
                }
            }
        });
        for writer in writers {
            writer.await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let removed = pruning.await.unwrap();
        let (consumed, skipped) = consuming.await.unwrap();
        assert_eq!(consumed + skipped, 2 * 480 * 2, "{consumed} consumed, {skipped} skipped");
        assert_eq!(removed + count(&client).await, 2 * 480 * 2);
        run(
            &client,
            "DELETE FROM notify_json.event; UPDATE notify_json.consumer SET skipped = told",
        )
        .await;
    }
    assert!(!Server::shared().log().contains("deadlock detected"));
}
