//! What publishing on a durable channel costs, beside an INSERT into a table like its log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use notify_json_tests::{Database, Server, ServerOptions};

/// A table as the log is, and channel `c`.
pub(crate) const TABLE: &str = "
    SELECT notify_json.create_channel('c');
    CREATE SEQUENCE plain_id;
    CREATE TABLE plain (LIKE notify_json.event INCLUDING COMPRESSION INCLUDING STORAGE);
    ALTER TABLE plain ALTER slot SET DEFAULT 0,
        ALTER id SET DEFAULT nextval('plain_id'),
        ALTER xid SET DEFAULT pg_current_xact_id(),
        ALTER published_at SET DEFAULT clock_timestamp(),
        ADD PRIMARY KEY (channel, id, slot);
    CREATE INDEX ON plain (xid, channel, id);";

const PAYLOAD: &str = r#"{"id": 42, "status": "paid", "lines": [{"sku": "a1", "count": 2}]}"#;

pub(crate) async fn run(rounds: u64) {
    for (fsync, clients) in [("off", 1), ("off", 16), ("on", 1), ("on", 16)] {
        let settings = [("fsync", fsync), ("max_wal_size", "8GB"), ("shared_buffers", "256MB")];
        let server =
            Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
        let database = server.database().await;
        database.execute(TABLE).await;
        let mut ratios = Vec::new();
        let (mut plain, mut published) = (0.0, 0.0);
        for _ in 0..rounds {
            let insert = "INSERT INTO plain (channel, payload) VALUES ('c', $1::text::json)";
            plain = speed(&database, clients, insert).await;
            published = speed(&database, clients, "SELECT notify_json('c', $1::text)").await;
            ratios.push(published / plain);
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "fsync {fsync}, {clients} writers: {:.2} of INSERT in the median of {rounds} pairs \
             ({:.2} to {:.2}); the last {published:.0} to {plain:.0} a second",
            ratios[ratios.len() / 2],
            ratios[0],
            ratios[ratios.len() - 1]
        );
    }
}

/// Transactions of one statement a second.
pub(crate) async fn speed(database: &Database, clients: usize, sql: &'static str) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let writers = (0..clients).map(|_| {
        let (database, stop) = (database.clone(), stop.clone());
        tokio::spawn(async move {
            let client = database.connect().await;
            let statement = client.prepare(sql).await.expect("the server runs");
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                client.execute(&statement, &[&PAYLOAD]).await.expect("the server runs");
                count += 1;
            }
            count
        })
    });
    let writers = join_all(writers.collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    let count: u64 = writers.await.into_iter().map(|count| count.expect("no panic")).sum();
    count as f64 / started.elapsed().as_secs_f64()
}
