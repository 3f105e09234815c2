//! What a live consumer costs those who publish, with the doorbell worker and without, and how
//! soon it hears.

use std::time::{Duration, Instant};

use notify_json_client::{Consumer, Event};
use notify_json_tests::{Database, Server, ServerOptions};
use tokio::time::{MissedTickBehavior, interval};

use crate::publish::{TABLE, speed};

const WRITERS: usize = 16;
const INSERT: &str = "INSERT INTO plain (channel, payload) VALUES ('c', $1::text::json)";
const PUBLISH: &str = "SELECT notify_json('c', $1::text)";

pub(crate) async fn run(rounds: u64) {
    let settings = [
        ("shared_preload_libraries", "notify_json"),
        ("max_wal_size", "8GB"),
        ("shared_buffers", "256MB"),
    ];
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let database = server.database().await;
    database.execute(TABLE).await;
    let mut ratios = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let plain = speed(&database, WRITERS, INSERT).await;
        for (is_served, ratios) in [true, false].into_iter().zip(&mut ratios) {
            serve(&database, is_served).await;
            let reading = tokio::spawn(read(consumer(&database).await));
            ratios.push(speed(&database, WRITERS, PUBLISH).await / plain);
            reading.abort();
        }
    }
    for (name, ratios) in ["with", "without"].into_iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        println!(
            "{WRITERS} writers and a consumer, {name} the worker: {:.2} of INSERT alone in the \
             median of {rounds} ({:.2} to {:.2})",
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1]
        );
    }
    for (name, is_served) in [("with", true), ("without", false)] {
        serve(&database, is_served).await;
        let mut delays = delays(&database).await;
        delays.sort();
        println!(
            "1,000 events a second, {name} the worker: from the call to the consumer p50 {:.1?}, \
             p99 {:.1?}",
            delays[delays.len() / 2],
            delays[delays.len() * 99 / 100]
        );
    }
}

/// Starts or ends the worker of the database.
async fn serve(database: &Database, is_served: bool) {
    let client = database.connect().await;
    let row = client.query_one("SELECT current_database()::text", &[]).await.expect("it runs");
    let name: &str = if is_served { row.get(0) } else { "" };
    let set = format!("ALTER SYSTEM SET notify_json.databases = '{name}'");
    client.batch_execute(&set).await.expect("a superuser may");
    client.batch_execute("SELECT pg_reload_conf()").await.expect("a superuser may");
    let count = "SELECT count(*) FROM notify_json.worker WHERE state = 'serving'";
    while client.query_one(count, &[]).await.expect("it runs").get::<_, i64>(0)
        != i64::from(is_served)
    {
        tokio::task::yield_now().await;
    }
}

/// A consumer that has nothing to catch up.
async fn consumer(database: &Database) -> Consumer<f64> {
    let client = database.connect().await;
    let seek = "SELECT notify_json.seek('worker', 'c', 'latest')";
    client.batch_execute(seek).await.expect("it runs");
    let listener = database.listener().await;
    listener.consume("c", "worker").await.expect("the server runs")
}

async fn read(mut consumer: Consumer<f64>) {
    while consumer.recv().await.is_some() {}
}

/// How long after it was published each of many events came, a thousand a second.
async fn delays(database: &Database) -> Vec<Duration> {
    const EVENTS: u32 = 5_000;
    let mut consumer = consumer(database).await;
    let client = database.connect().await;
    let started = Instant::now();
    tokio::spawn(async move {
        let statement = client.prepare(PUBLISH).await.expect("the server runs");
        let mut beats = interval(Duration::from_millis(1));
        beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for _ in 0..EVENTS {
            beats.tick().await;
            let now = started.elapsed().as_secs_f64().to_string();
            client.execute(&statement, &[&now]).await.expect("the server runs");
        }
    });
    let mut delays = Vec::new();
    for _ in 0..EVENTS {
        match consumer.recv().await {
            Some(Ok(Event::Message(event))) => {
                delays.push(started.elapsed() - Duration::from_secs_f64(event.payload));
            }
            other => panic!("{other:?}"),
        }
    }
    delays
}
