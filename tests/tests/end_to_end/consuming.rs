//! Durable channels read from Rust.

use std::time::Duration;

use futures_util::FutureExt;
use notify_json_client::{
    Consumer, Delivery, ErrorKind, Event, Gap, Listener, ListenerConfig, LogState, publish,
};
use notify_json_tests::{Database, Fault, Proxy, Server, texts};
use tokio_postgres::Client;

struct Case {
    database: Database,
    client: Client,
    listener: Listener,
}

/// A database with the durable channel `c`, and a listener.
async fn case() -> Case {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    client.batch_execute("SELECT notify_json.create_channel('c')").await.unwrap();
    let listener = database.listener().await;
    Case { database, client, listener }
}

impl Case {
    async fn publish(&self, numbers: impl IntoIterator<Item = i64>) {
        for number in numbers {
            publish(&self.client, "c", &number).await.unwrap();
        }
    }

    async fn consume(&self) -> Consumer<i64> {
        self.listener.consume("c", "worker").await.unwrap()
    }
}

async fn next(consumer: &mut Consumer<i64>) -> Delivery<i64> {
    match consumer.recv().await {
        Some(Ok(Event::Message(delivery))) => delivery,
        other => panic!("{other:?}"),
    }
}

async fn expect(consumer: &mut Consumer<i64>, numbers: impl IntoIterator<Item = i64>) {
    for number in numbers {
        assert_eq!(next(consumer).await.payload, number);
    }
}

#[tokio::test]
async fn first_what_was_missed_then_what_comes_without_a_seam() {
    let case = case().await;
    case.publish(0..2_500).await;
    let mut consumer = case.consume().await;
    expect(&mut consumer, 0..1_200).await;
    case.publish(2_500..2_600).await;
    expect(&mut consumer, 1_200..2_600).await;
    consumer.state().wait_for(|state| matches!(state, LogState::Live)).await.unwrap();
    case.publish(2_600..2_700).await;
    expect(&mut consumer, 2_600..2_700).await;
}

#[tokio::test]
async fn what_is_acknowledged_never_comes_again_and_the_rest_does() {
    let case = case().await;
    case.publish(0..10).await;
    let mut consumer = case.consume().await;
    expect(&mut consumer, 0..4).await;
    next(&mut consumer).await.ack(&case.client).await.unwrap();
    expect(&mut consumer, 5..10).await;
    consumer.close().await;

    let mut consumer = case.consume().await;
    let fifth = next(&mut consumer).await;
    let sixth = next(&mut consumer).await;
    sixth.ack(&case.client).await.unwrap();
    fifth.ack(&case.client).await.unwrap();
    consumer.close().await;

    let mut consumer = case.consume().await;
    expect(&mut consumer, 7..10).await;
}

#[tokio::test]
async fn effect_and_acknowledgement_happen_together_or_not_at_all() {
    let mut case = case().await;
    case.client.batch_execute("CREATE TABLE effect (number bigint)").await.unwrap();
    case.publish(0..2).await;
    let insert = "INSERT INTO effect VALUES ($1)";

    let mut consumer = case.consume().await;
    let first = next(&mut consumer).await;
    let transaction = case.client.transaction().await.unwrap();
    transaction.execute(insert, &[&first.payload]).await.unwrap();
    first.ack_in(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let second = next(&mut consumer).await;
    let transaction = case.client.transaction().await.unwrap();
    transaction.execute(insert, &[&second.payload]).await.unwrap();
    second.ack_in(&transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    consumer.close().await;

    let mut consumer = case.consume().await;
    assert_eq!(next(&mut consumer).await.payload, 1);
    let effects = case.client.query("SELECT number FROM effect", &[]).await.unwrap();
    let effects: Vec<i64> = effects.iter().map(|row| row.get(0)).collect();
    assert_eq!(effects, [0]);
}

#[tokio::test]
async fn a_lost_connection_loses_nothing_and_repeats_nothing() {
    let case = case().await;
    let mut consumer = case.consume().await;
    for round in 0..5 {
        case.publish(round * 10..round * 10 + 5).await;
        expect(&mut consumer, round * 10..round * 10 + 5).await;
        let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid() \
                      AND backend_type = 'client backend'";
        case.client.query_one(others, &[]).await.unwrap();
        case.publish(round * 10 + 5..round * 10 + 10).await;
        expect(&mut consumer, round * 10 + 5..round * 10 + 10).await;
    }
}

#[tokio::test]
async fn one_holds_a_consumer_and_the_next_takes_over() {
    let case = case().await;
    case.publish(0..3).await;
    let mut first = case.consume().await;
    let mut second = case.consume().await;
    assert!(matches!(*second.state().borrow(), LogState::Standby));
    next(&mut first).await.ack(&case.client).await.unwrap();
    let unacknowledged = next(&mut first).await;
    drop(first);
    assert_eq!(next(&mut second).await.payload, 1);
    let error = unacknowledged.ack(&case.client).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55006");
    next(&mut second).await.ack(&case.client).await.unwrap();
}

#[tokio::test]
async fn who_is_cut_off_loses_its_place() {
    let case = case().await;
    case.publish(0..3).await;
    let proxy = Proxy::start(Server::shared().port()).await;
    let config: ListenerConfig = proxy.url(&case.database).parse().unwrap();
    let cut_off = config.lease(Duration::from_millis(500)).connect().await.unwrap();
    let mut first = cut_off.consume::<i64>("c", "worker").await.unwrap();
    let held = next(&mut first).await;
    proxy.set(Fault::BlackHole { up: true, down: true });
    let mut second = case.consume().await;
    let taken = next(&mut second).await;
    assert_eq!(taken.payload, 0);
    let error = held.ack(&case.client).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55006");
    // It has more in its hands, which are not its own any more.
    proxy.set(Fault::None);
    first.state().wait_for(|state| matches!(state, LogState::Standby)).await.unwrap();
    assert!(first.recv().now_or_never().is_none());
    taken.ack(&case.client).await.unwrap();
    second.close().await;
    assert_eq!(next(&mut first).await.payload, 1);
}

#[tokio::test]
async fn what_is_of_no_use_can_be_acknowledged_past() {
    let case = case().await;
    case.publish([1]).await;
    publish(&case.client, "c", "not a number").await.unwrap();
    publish(&case.client, "c", &vec![1; 2_000]).await.unwrap();
    case.publish([2]).await;
    let config: ListenerConfig = case.database.url().parse().unwrap();
    let listener = config.max_message_bytes(1_000).connect().await.unwrap();

    let mut consumer = listener.consume::<i64>("c", "worker").await.unwrap();
    assert_eq!(next(&mut consumer).await.payload, 1);
    let poison = consumer.recv().await.unwrap().unwrap_err();
    assert_eq!(poison.kind(), ErrorKind::Decode);
    assert_eq!(poison.raw(), Some(r#""not a number""#));
    let large = consumer.recv().await.unwrap().unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    assert!(large.to_string().contains("4001 bytes, more than the 1000"), "{large}");
    assert_eq!(next(&mut consumer).await.payload, 2);
    poison.receipt().unwrap().ack(&case.client).await.unwrap();
    large.receipt().unwrap().ack(&case.client).await.unwrap();
    consumer.close().await;
    let mut consumer = case.consume().await;
    assert_eq!(next(&mut consumer).await.payload, 2);
}

#[tokio::test]
async fn an_event_of_80_megabytes_arrives() {
    let case = case().await;
    let text = texts::string("abcdefgh", 80_000_000, 1);
    let send = "SELECT notify_json('c', $1::text)";
    case.client.execute(send, &[&text]).await.unwrap();
    let config: ListenerConfig = case.database.url().parse().unwrap();
    let listener = config.max_message_bytes(100 << 20).connect().await.unwrap();
    let mut consumer = listener.consume::<String>("c", "worker").await.unwrap();
    let Some(Ok(Event::Message(event))) = consumer.recv().await else { panic!("no event") };
    assert!(serde_json::to_string(&event.payload).unwrap() == text);
}

#[tokio::test]
async fn removed_events_are_a_gap_with_their_number() {
    let case = case().await;
    case.publish(0..10).await;
    let mut consumer = case.consume().await;
    next(&mut consumer).await;
    next(&mut consumer).await.ack(&case.client).await.unwrap();
    consumer.close().await;
    case.client
        .batch_execute("SELECT notify_json.alter_channel('c', retention => '1 microsecond')")
        .await
        .unwrap();
    removed(&case, 10).await;
    let forever = "SELECT notify_json.alter_channel('c', retention => '1 day')";
    case.client.batch_execute(forever).await.unwrap();
    case.publish([10]).await;

    let mut consumer = case.consume().await;
    let gap = consumer.recv().await.unwrap().unwrap();
    assert!(matches!(gap, Event::Gap(Gap::Expired { skipped: 8 })), "{gap:?}");
    next(&mut consumer).await.ack(&case.client).await.unwrap();
    consumer.close().await;
    let mut consumer = case.consume().await;
    case.publish([11]).await;
    expect(&mut consumer, [11]).await;
}

#[tokio::test]
async fn what_cannot_be_read_says_why() {
    let case = case().await;
    let code = async |database: &Database, channel: &str| {
        let listener = database.listener().await;
        let error = listener.consume::<i64>(channel, "worker").await.unwrap_err();
        error.code().map(|code| code.code().to_owned())
    };
    assert_eq!(code(&case.database, "unknown").await.as_deref(), Some("42704"));
    case.client.batch_execute("CREATE ROLE nobody LOGIN").await.unwrap();
    let nobody = case.database.as_role("nobody");
    assert_eq!(code(&nobody, "c").await.as_deref(), Some("42501"));
    let error = case.listener.consume::<i64>("", "worker").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Channel);
    case.listener.shutdown().await;
    let error = case.listener.consume::<i64>("c", "worker").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn shutdown_ends_the_stream_and_lets_the_consumer_go() {
    let case = case().await;
    case.publish([1]).await;
    let mut consumer = case.consume().await;
    next(&mut consumer).await;
    case.listener.shutdown().await;
    assert!(consumer.recv().await.is_none());
    let other = case.database.listener().await;
    let mut consumer = other.consume::<i64>("c", "worker").await.unwrap();
    assert_eq!(next(&mut consumer).await.payload, 1);
}

/// What a reader asks for itself does not depend on the level that transactions have by default.
#[tokio::test]
async fn a_database_may_have_another_level_of_isolation() {
    for level in ["serializable", "repeatable read", "read uncommitted"] {
        let case = case().await;
        let sql = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = %L',
                 current_database(), '{level}'); END $$"
        );
        case.client.batch_execute(&sql).await.unwrap();
        case.publish(0..10).await;
        let short = "SELECT notify_json.alter_channel('c', retention => '1 microsecond')";
        case.client.batch_execute(short).await.unwrap();
        let mut consumer = case.consume().await;
        let level_now = case.database.connect().await;
        let level_now = level_now.query_one("SHOW transaction_isolation", &[]).await.unwrap();
        assert_eq!(level_now.get::<_, &str>(0), level);
        let removed = "SELECT notify_json.removed('c') = 10";
        while !case.client.query_one(removed, &[]).await.unwrap().get::<_, bool>(0) {}
        let long = "SELECT notify_json.alter_channel('c', retention => '1 day')";
        case.client.batch_execute(long).await.unwrap();
        case.publish([10]).await;
        loop {
            match consumer.recv().await {
                Some(Ok(Event::Message(event))) if event.payload == 10 => break,
                // Those that it had read before they were removed.
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Prunes until so many events were removed from channel `c`: a consumer may be pruning, too.
async fn removed(case: &Case, total: i64) {
    let removed = "SELECT notify_json.removed('c') >= $1";
    while !case.client.query_one(removed, &[&total]).await.unwrap().get::<_, bool>(0) {
        case.client.batch_execute("SELECT notify_json.prune()").await.unwrap();
    }
}

/// Counting what is to be removed may take longer than the lease.
#[tokio::test]
async fn a_consumer_reads_on_while_it_prunes() {
    let case = case().await;
    case.publish(0..10).await;
    let slow = "UPDATE notify_json.event SET published_at = now() - interval '8 days';
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_advisory_xact_lock(2);
            WHILE NOT pg_try_advisory_xact_lock(1) LOOP PERFORM pg_sleep(0.001); END LOOP;
            RETURN NEW;
        END $$;
        CREATE TRIGGER wait BEFORE INSERT ON notify_json.removal
            FOR EACH ROW EXECUTE FUNCTION wait();
        SELECT pg_advisory_lock(1);
        SELECT notify_json.seek('worker', 'c', 'latest')";
    case.client.batch_execute(slow).await.unwrap();
    let lease = Duration::from_millis(500);
    let config: ListenerConfig = case.database.url().parse().unwrap();
    let listener = config.lease(lease).connect().await.unwrap();
    let mut consumer = listener.consume::<i64>("c", "worker").await.unwrap();
    let waits = "SELECT count(*) = 1 FROM pg_locks
                 WHERE locktype = 'advisory' AND objid = 2 AND granted
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while !case.client.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {}
    let started = std::time::Instant::now();
    let mut number = 10;
    while started.elapsed() < 3 * lease {
        case.publish([number]).await;
        next(&mut consumer).await.ack(&case.client).await.unwrap();
        number += 1;
    }
    let epoch = case.client.query_one("SELECT epoch FROM notify_json.consumer", &[]).await.unwrap();
    assert_eq!(epoch.get::<_, i64>(0), 2, "sought, and claimed once");
    case.client.batch_execute("SELECT pg_advisory_unlock(1)").await.unwrap();
}
