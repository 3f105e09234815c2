//! Durable channels read without a name.

use std::time::{Duration, SystemTime};

use notify_json_client::{Event, Gap, Listener, Position, Replay, Since, Stored, publish};
use notify_json_tests::{Database, Server, ServerOptions};
use tokio_postgres::Client;

struct Case {
    client: Client,
    listener: Listener,
}

/// A new database with the durable channel `c`, and a listener.
async fn case() -> Case {
    case_at(&Server::shared().database().await).await
}

async fn case_at(database: &Database) -> Case {
    let client = database.connect().await;
    client.batch_execute("SELECT notify_json.create_channel('c')").await.unwrap();
    Case { client, listener: database.listener().await }
}

impl Case {
    async fn publish(&self, numbers: impl IntoIterator<Item = i64>) {
        for number in numbers {
            publish(&self.client, "c", &number).await.unwrap();
        }
    }

    async fn replay(&self, since: impl Into<Since>) -> Replay<i64> {
        self.listener.replay("c", since).await.unwrap()
    }

    async fn set_retention(&self, retention: &str) {
        let sql = format!("SELECT notify_json.alter_channel('c', retention => '{retention}')");
        self.client.batch_execute(&sql).await.unwrap();
    }

    /// Prunes until so many events have ever been removed: a reader may be pruning, too.
    async fn remove(&self, total: i64) {
        let prune = "SELECT notify_json.prune()";
        let removed = "SELECT notify_json.removed('c')";
        loop {
            self.client.batch_execute(prune).await.unwrap();
            let row = self.client.query_one(removed, &[]).await.unwrap();
            match row.get::<_, i64>(0) {
                removed if removed < total => {}
                removed => break assert_eq!(removed, total),
            }
        }
    }
}

async fn next(replay: &mut Replay<i64>) -> Stored<i64> {
    match replay.recv().await {
        Some(Ok(Event::Message(event))) => event,
        other => panic!("{other:?}"),
    }
}

async fn gap(replay: &mut Replay<i64>) -> Gap {
    match replay.recv().await {
        Some(Ok(Event::Gap(gap))) => gap,
        other => panic!("{other:?}"),
    }
}

/// Takes events with these numbers; returns the position of the last one, as it is printed.
async fn expect(replay: &mut Replay<i64>, numbers: std::ops::Range<i64>) -> Position {
    let mut last = None;
    for number in numbers {
        let event = next(replay).await;
        assert_eq!(event.payload, number);
        last = Some(event.position);
    }
    last.expect("there are some").to_string().parse().unwrap()
}

#[tokio::test]
async fn a_replay_starts_where_it_is_told() {
    let case = case().await;
    case.publish(0..3).await;
    let mut all = case.listener.replay::<i64>("c", Since::Earliest).await.unwrap();
    let mut stored = Vec::new();
    for number in 0..3 {
        let Some(Ok(Event::Message(event))) = all.recv().await else { panic!("no event") };
        assert_eq!(event.payload, number);
        stored.push(event);
    }
    let [_, second, third]: [Stored<i64>; 3] = stored.try_into().unwrap();
    let printed = second.position.to_string();
    let position: Position = printed.parse().unwrap();
    assert_eq!(position, second.position);

    let mut latest = case.listener.replay::<i64>("c", Since::Latest).await.unwrap();
    case.publish([3]).await;
    let mut resumed = case.listener.replay::<i64>("c", position).await.unwrap();
    let mut timed = case.listener.replay::<i64>("c", third.published_at).await.unwrap();
    let later = SystemTime::now() + Duration::from_secs(3600);
    let mut future = case.listener.replay::<i64>("c", later).await.unwrap();
    for (replay, numbers) in [
        (&mut all, 3..4),
        (&mut latest, 3..4),
        (&mut resumed, 2..4),
        (&mut timed, 2..4),
        (&mut future, 4..4),
    ] {
        for number in numbers {
            let Some(Ok(Event::Message(event))) = replay.recv().await else { panic!("no event") };
            assert_eq!(event.payload, number);
        }
    }
    case.publish([4]).await;
    for replay in [all, latest, resumed, timed, future].iter_mut() {
        let Some(Ok(Event::Message(event))) = replay.recv().await else { panic!("no event") };
        assert_eq!(event.payload, 4);
    }
}

#[tokio::test]
async fn what_retention_removed_first_is_a_gap() {
    let case = case().await;
    case.publish(0..5).await;
    let mut reading = case.replay(Since::Earliest).await;
    let read = expect(&mut reading, 0..5).await;
    drop(reading);
    case.set_retention("1 microsecond").await;
    case.remove(5).await;
    case.publish(5..12).await;
    case.remove(12).await;
    case.set_retention("1 day").await;
    case.publish([12]).await;

    let mut resumed = case.replay(read.clone()).await;
    assert_eq!(gap(&mut resumed).await, Gap::Expired { skipped: 7 });
    let told = expect(&mut resumed, 12..13).await;
    // What had gone before is nothing to a replay that begins now, or that was told of it.
    let mut earliest = case.replay(Since::Earliest).await;
    expect(&mut earliest, 12..13).await;
    let mut resumed = case.replay(told).await;
    case.publish([13]).await;
    expect(&mut resumed, 13..14).await;
    // Again, in full, for the position that was never told.
    let mut resumed = case.replay(read).await;
    assert_eq!(gap(&mut resumed).await, Gap::Expired { skipped: 7 });
    expect(&mut resumed, 12..14).await;
}

#[tokio::test]
async fn what_was_read_during_a_long_transaction_is_not_missed() {
    let long = Server::shared().database().await.connect().await;
    long.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let case = case().await;
    case.publish(0..5).await;
    let read = expect(&mut case.replay(Since::Earliest).await, 0..5).await;
    case.set_retention("1 microsecond").await;
    case.remove(5).await;
    case.set_retention("1 day").await;
    case.publish([5]).await;
    expect(&mut case.replay(read).await, 5..6).await;
    long.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn of_what_it_read_in_part_a_replay_is_told_at_most_a_batch_too_many() {
    let case = case().await;
    case.publish(0..1_000).await;
    let mut reading = case.replay(Since::Earliest).await;
    let middle = expect(&mut reading, 0..505).await;
    let past = "UPDATE notify_json.event SET published_at = published_at - interval '8 days'";
    case.client.batch_execute(past).await.unwrap();
    case.remove(1_000).await;
    let mut resumed = case.replay(middle.clone()).await;
    let Gap::Expired { skipped } = gap(&mut resumed).await else { panic!("another gap") };
    assert!((495..=505).contains(&skipped), "{skipped}");

    let batches = "SELECT count(*), sum(events)::bigint, max(total) FROM notify_json.removal
                   WHERE channel = 'c'";
    let row = case.client.query_one(batches, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(1), row.get::<_, i64>(2)), (1_000, 1_000));
    assert!(row.get::<_, i64>(0) <= 101);
}

#[tokio::test]
async fn batches_are_kept_in_bounds() {
    let case = case().await;
    case.publish([0]).await;
    let mut replay = case.replay(Since::Earliest).await;
    let old = expect(&mut replay, 0..1).await;
    drop(replay);
    // As if each of 1,098 calls had found one.
    let many = "INSERT INTO notify_json.removal
                SELECT 'c', n, 1, n, 1000 + n, 1000 + n FROM generate_series(1, 1098) n";
    case.client.batch_execute(many).await.unwrap();
    case.set_retention("1 microsecond").await;
    case.publish([1]).await;
    case.remove(1_100).await;
    let batches = "SELECT count(*), sum(events)::bigint, max(total) FROM notify_json.removal";
    let row = case.client.query_one(batches, &[]).await.unwrap();
    let (count, events, total) = (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2));
    assert_eq!((events, total), (1_100, 1_100));
    assert!((1_000..=1_001).contains(&count), "{count}");
    let mut resumed = case.replay(old).await;
    let Gap::Expired { skipped } = gap(&mut resumed).await else { panic!("another gap") };
    assert!((1_099..=1_100).contains(&skipped), "{skipped}");
    case.client.batch_execute("SELECT notify_json.drop_channel('c')").await.unwrap();
    case.client.batch_execute("SELECT notify_json.create_channel('c')").await.unwrap();
    // What the old channel had is forgotten, but no mark of a replay is above what comes.
    let batches = "SELECT count(*), sum(events)::bigint, max(total) FROM notify_json.removal";
    let row = case.client.query_one(batches, &[]).await.unwrap();
    let last = "SELECT last_value FROM notify_json.event_id";
    let last: i64 = case.client.query_one(last, &[]).await.unwrap().get(0);
    assert_eq!((row.get(0), row.get(1), row.get(2)), (1_i64, 0_i64, last));
}

#[tokio::test]
async fn a_restart_of_the_server_is_a_gap_and_nothing_comes_twice() {
    let server = Server::start(&ServerOptions::default());
    let database = server.database().await;
    let case = case_at(&database).await;
    let mut waiting = case.replay(Since::Latest).await;
    case.publish(0..10).await;
    let mut reading = case.replay(Since::Earliest).await;
    let position = expect(&mut reading, 0..5).await;
    expect(&mut reading, 5..10).await;
    expect(&mut waiting, 0..10).await;
    let mut idle = case.replay(Since::Latest).await;
    server.crash_and_restart();

    let client = database.connect().await;
    let case = Case { client, listener: case.listener };
    for replay in [&mut reading, &mut waiting, &mut idle] {
        assert_eq!(gap(replay).await, Gap::Restarted);
    }
    case.publish([10]).await;
    for replay in [&mut reading, &mut waiting, &mut idle] {
        expect(replay, 10..11).await;
    }
    let mut resumed = case.replay(position).await;
    assert_eq!(gap(&mut resumed).await, Gap::Restarted);
    expect(&mut resumed, 5..11).await;
}
