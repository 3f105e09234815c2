//! A durable channel under fire: writers, one consumer in a process of its own, and faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use notify_json_client::{Consumer, Delivery, Event, Listener, ListenerConfig};
use notify_json_tests::{Database, Running, Server, ServerOptions, soak};
use serde::Deserialize;
use tokio::time::interval;
use tokio_postgres::{Client, Error};

/// A writer numbers its events. `cause` counts transactions that update one row, so that each
/// has waited for the one before.
#[derive(Clone, Debug, Deserialize)]
struct Work {
    writer: i64,
    number: i64,
    cause: Option<i64>,
}

const SCHEMA: &str = "
    SELECT notify_json.create_channel('work');
    CREATE TABLE sent (id bigint PRIMARY KEY);
    CREATE TABLE effect (
        place bigint GENERATED ALWAYS AS IDENTITY,
        id bigint PRIMARY KEY, writer bigint, number bigint, cause bigint
    );
    CREATE TABLE counter (n bigint);
    INSERT INTO counter VALUES (0);
    CREATE FUNCTION work(writer bigint, first bigint, count bigint, causal boolean) RETURNS void
    LANGUAGE plpgsql AS $$
    DECLARE
        cause bigint;
    BEGIN
        INSERT INTO sent
        SELECT notify_json('work', json_build_object('writer', writer, 'number', number))
        FROM generate_series(first, first + count - 1) AS number;
        IF causal THEN
            UPDATE counter SET n = n + 1 RETURNING n INTO cause;
            INSERT INTO sent VALUES (notify_json('work', json_build_object(
                'writer', writer, 'number', first + count, 'cause', cause)));
        END IF;
    END $$;";

const WRITERS: i64 = 16;

pub(crate) async fn run(events: u64, hits: u64, seed: u64) {
    let settings = [("max_wal_size", "4GB")];
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let database = server.database().await;
    database.execute(SCHEMA).await;
    let committed = Arc::new(AtomicU64::new(0));
    let writers = (0..WRITERS).map(|writer| {
        tokio::spawn(write(database.clone(), writer, committed.clone(), events, seed))
    });
    let writers = tokio::spawn(join_all(writers.collect::<Vec<_>>()));

    let mut random = fastrand::Rng::with_seed(seed);
    let start = || Running::start(soak().args(["durable-consumer", database.url()]));
    let mut consumer = start();
    let mut progress = interval(Duration::from_millis(10));
    for hit in 1..=hits {
        while committed.load(Ordering::Relaxed) < events * hit / (hits + 1) {
            progress.tick().await;
        }
        match random.u32(0..3) {
            0 => {
                consumer.kill();
                consumer = start();
            }
            1 => server.crash_and_restart(),
            _ => {
                let client = database.connect_when_up().await;
                let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                                 WHERE application_name = 'worker'";
                client.query(terminate, &[]).await.expect("the server runs");
            }
        }
        if hit % 10 == 0 {
            println!("{hit} hits, {} events sent", committed.load(Ordering::Relaxed));
        }
    }
    for writer in writers.await.expect("writers do not panic") {
        writer.expect("writers do not panic");
    }
    let client = database.connect_when_up().await;
    let sent = count(&client, "SELECT count(*) FROM sent").await;
    while count(&client, "SELECT count(*) FROM effect").await < sent {
        progress.tick().await;
    }
    for (what, sql) in [
        (
            "event lost",
            "SELECT count(*) FROM sent FULL JOIN effect USING (id) \
                        WHERE sent.id IS NULL OR effect.place IS NULL",
        ),
        (
            "number before its turn",
            "SELECT count(*) FROM (SELECT number, \
            lag(number) OVER (PARTITION BY writer ORDER BY place) AS last FROM effect) AS pair \
            WHERE number <= last",
        ),
        (
            "effect before its cause",
            "SELECT count(*) FROM (SELECT cause, \
            lag(cause) OVER (ORDER BY place) AS last FROM effect WHERE cause IS NOT NULL) AS pair \
            WHERE cause <= last",
        ),
    ] {
        assert_eq!(count(&client, sql).await, 0, "{what}");
    }
    println!("{sent} events sent, {hits} hits of seed {seed}: each handled once, in order");
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("the server runs").get(0)
}

/// Sends transactions of random length until all writers together have committed enough.
async fn write(database: Database, writer: i64, committed: Arc<AtomicU64>, events: u64, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed + 1 + writer as u64);
    let mut client = database.connect_when_up().await;
    let mut number = 0;
    while committed.load(Ordering::Relaxed) < events {
        let count = random.i64(1..40);
        match transaction(&mut client, &mut random, writer, number, count).await {
            Ok(true) => drop(committed.fetch_add(count as u64, Ordering::Relaxed)),
            Ok(false) => {}
            Err(_) => client = database.connect_when_up().await,
        }
        number += count + 1;
    }
}

/// `false` if it was rolled back.
async fn transaction(
    client: &mut Client,
    random: &mut fastrand::Rng,
    writer: i64,
    number: i64,
    count: i64,
) -> Result<bool, Error> {
    let transaction = client.transaction().await?;
    let causal = random.u32(0..10) == 0;
    let work = "SELECT work($1, $2, $3, $4)";
    transaction.execute(work, &[&writer, &number, &count, &causal]).await?;
    let delay = random.f64() * 0.005;
    transaction.execute("SELECT pg_sleep($1)", &[&delay]).await?;
    if random.u32(0..20) == 0 {
        transaction.rollback().await?;
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

/// The consumer's process: takes batches into `effect`, until it is killed.
pub(crate) async fn consume(url: &str) {
    let database = Database::at(format!("{url}?application_name=worker"));
    let listener = listener(&database).await;
    loop {
        let mut consumer = match listener.consume::<Work>("work", "worker").await {
            Ok(consumer) => consumer,
            // The server restarts.
            Err(_) => {
                database.connect_when_up().await;
                continue;
            }
        };
        let mut client = database.connect_when_up().await;
        // What a failed transaction should have acknowledged comes again to the next consumer.
        while handle(&mut consumer, &mut client).await.is_ok() {}
        consumer.close().await;
    }
}

async fn listener(database: &Database) -> Listener {
    let config: ListenerConfig = database.url().parse().expect("it is a URL");
    config
        .wait_for_server(true)
        .reconnect_delay(Duration::from_millis(10), Duration::from_millis(200))
        .lease(Duration::from_secs(1))
        .connect()
        .await
        .expect("it waits for the server")
}

/// Fails if the batch has no effect, or nobody knows whether it has one.
async fn handle(
    consumer: &mut Consumer<Work>,
    client: &mut Client,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut batch = vec![next(consumer).await];
    while batch.len() < 1_000
        && let Some(delivery) = next(consumer).now_or_never()
    {
        batch.push(delivery);
    }
    let column = |of: fn(&Delivery<Work>) -> Option<i64>| batch.iter().map(of).collect::<Vec<_>>();
    let transaction = client.transaction().await?;
    transaction
        .execute(
            "INSERT INTO effect (id, writer, number, cause) \
             SELECT id, writer, number, cause \
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) \
             WITH ORDINALITY AS work (id, writer, number, cause, place) ORDER BY place",
            &[
                &column(|delivery| Some(delivery.id)),
                &column(|delivery| Some(delivery.payload.writer)),
                &column(|delivery| Some(delivery.payload.number)),
                &column(|delivery| delivery.payload.cause),
            ],
        )
        .await?;
    batch.last().expect("it has one").ack_in(&transaction).await?;
    Ok(transaction.commit().await?)
}

async fn next(consumer: &mut Consumer<Work>) -> Delivery<Work> {
    loop {
        match consumer.recv().await.expect("the listener runs") {
            Ok(Event::Message(delivery)) => return delivery,
            Ok(Event::Gap(gap)) => panic!("{gap}"),
            Err(_) => {}
        }
    }
}
