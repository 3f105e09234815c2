//! Random tables under random statements, mirrored from their events alone by a consumer that, like
//! the server, is hit now and then. What changes the shape of a table travels among the events.

mod apply;
mod table;

use std::time::Duration;

use notify_json_tests::{Database, Server, ServerOptions};
use tokio::sync::watch;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use table::Table;

/// Runs, each on a table of its own; tells what differs and by which seed it comes about again.
pub(crate) async fn run(runs: u64, seed: u64) {
    let settings = [("max_wal_size", "4GB")];
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let database = server.database().await;
    database.execute(apply::SCHEMA).await;
    let done = watch::Sender::new(0);
    let mirror = tokio::spawn(apply::mirror(database.clone(), done.clone()));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut client = database.connect_when_up().await;
    let (mut committed, mut refused) = (0, 0);
    for number in 1..=runs {
        let table = Table::random(number, &mut fastrand::Rng::with_seed(seed + number));
        insist(&database, &mut client, &table.create()).await;
        let mut random_of_run = fastrand::Rng::with_seed(seed + number);
        for _ in 0..random_of_run.u32(5..30) {
            match transaction(&client, &table, &mut random_of_run).await {
                Ok(()) => committed += 1,
                Err(error) if error.code().is_some() && !client.is_closed() => {
                    // A statement that the table refuses, such as a key that is there already.
                    let rollback = client.batch_execute("ROLLBACK").await;
                    assert!(rollback.is_ok() || client.is_closed());
                    refused += 1;
                }
                Err(_) => client = database.connect_when_up().await,
            }
            if random.u32(0..200) == 0 {
                hit(&mut random, &server, &database).await;
            }
        }
        let end = format!("SELECT notify_json('mirror', '{{\"end\": {number}}}')");
        insist(&database, &mut client, &end).await;
        let mut done = done.subscribe();
        let reached = done.wait_for(|done| *done >= number);
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(reached.is_ok(), "run {number} of seed {seed}: the mirror has stopped");
        let differing = differing(&database, &mut client, number).await;
        assert_eq!(differing, 0, "run {number} of seed {seed}: rows that differ; {table:?}");
        if number % 100 == 0 {
            println!("{number} runs, {committed} transactions committed, {refused} refused");
        }
    }
    mirror.abort();
    println!("{runs} runs of seed {seed}, {committed} transactions: every mirror equals its table");
}

/// Runs a statement once, however often the server restarts.
async fn insist(database: &Database, client: &mut Client, sql: &str) -> Vec<SimpleQueryMessage> {
    loop {
        match client.simple_query(sql).await {
            Ok(rows) => return rows,
            Err(error) if client.is_closed() => {
                drop(error);
                *client = database.connect_when_up().await;
            }
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }
}

/// One to four statements, of which some are taken back.
async fn transaction(
    client: &Client,
    table: &Table,
    random: &mut fastrand::Rng,
) -> Result<(), Error> {
    client.batch_execute("BEGIN").await?;
    for _ in 0..random.u32(1..5) {
        let columns = table.columns(client).await?;
        let statement = table.statement(&columns, random);
        let is_undone = random.u32(0..8) == 0;
        if is_undone {
            client.batch_execute("SAVEPOINT s").await?;
        }
        client.batch_execute(&statement).await?;
        if is_undone {
            client.batch_execute("ROLLBACK TO s").await?;
        }
    }
    let end = if random.u32(0..10) == 0 { "ROLLBACK" } else { "COMMIT" };
    client.batch_execute(end).await
}

async fn hit(random: &mut fastrand::Rng, server: &Server, database: &Database) {
    if random.u32(0..10) == 0 {
        server.crash_and_restart();
    } else {
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE application_name = 'mirror'";
        database.connect_when_up().await.query(terminate, &[]).await.expect("the server runs");
    }
}

/// How many rows one of the two has and the other has not.
async fn differing(database: &Database, client: &mut Client, number: u64) -> i64 {
    let rows = insist(database, client, &format!("SELECT differing({number})")).await;
    let count = rows.iter().find_map(|row| match row {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    count.expect("a number").parse().expect("a number")
}
