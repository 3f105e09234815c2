//! Durable channels, beside other ways to keep events in PostgreSQL.

mod drain;
mod latency;
mod publish;

use notify_json_tests::Database;

use crate::figures::{Candidate, Role};
use crate::peers::{CHANNEL, Peer, TABLE, pgmq, pgq, select};
use crate::rounds::Bench;
use crate::start_server;

/// Databases of one server.
struct Databases {
    /// Whose doorbells a worker rings.
    served: Database,
    /// The same without one, and all peers.
    other: Database,
}

/// Who keeps events, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Log {
    /// With the doorbell worker.
    Served,
    /// notify_json without it, or somebody else.
    Of(Peer),
}

impl Log {
    fn place(self, databases: &Databases) -> (Peer, &Database) {
        match self {
            Self::Served => (Peer::Durable, &databases.served),
            Self::Of(peer) => (peer, &databases.other),
        }
    }
}

impl From<Log> for Candidate {
    fn from(log: Log) -> Self {
        match log {
            Log::Served => Self::new("notify_json", Role::Ours),
            Log::Of(Peer::Durable) => Self::new("notify_json, no worker", Role::Ours),
            Log::Of(Peer::ClaimCheck) => Self::new("INSERT + pg_notify", Role::Peer),
            Log::Of(peer) => peer.into(),
        }
    }
}

pub(crate) async fn run(bench: &mut Bench) {
    const PUBLISH: &str = "durable publish";
    const LATENCY: &str = "durable latency";
    const DRAIN: &str = "durable drain";
    if ![PUBLISH, LATENCY, DRAIN].iter().any(|group| bench.wants(group)) {
        return;
    }
    let server = start_server(&[("shared_preload_libraries", "notify_json")]);
    let databases = Databases { served: server.database().await, other: server.database().await };
    create(&databases.served).await;
    serve(&databases.served).await;
    create(&databases.other).await;
    let peers = install_peers(bench, &databases.other).await;
    if bench.begins(PUBLISH) {
        publish::run(bench, &databases, &peers).await;
    }
    if bench.begins(LATENCY) {
        latency::run(bench, &databases, &peers).await;
    }
    if bench.begins(DRAIN) {
        drain::run(bench, &server, &peers).await;
    }
}

async fn create(database: &Database) {
    database.execute(&format!("SELECT notify_json.create_channel('{CHANNEL}')")).await;
    database.execute(select::TABLE).await;
    database.execute(TABLE).await;
}

/// Has a worker ring the doorbells of a database.
async fn serve(database: &Database) {
    let client = database.connect().await;
    let row = client.query_one("SELECT current_database()::text", &[]).await.expect("it runs");
    let set = format!("ALTER SYSTEM SET notify_json.databases = '{}'", row.get::<_, &str>(0));
    client.batch_execute(&set).await.expect("a superuser may");
    client.batch_execute("SELECT pg_reload_conf()").await.expect("a superuser may");
    let count = "SELECT count(*) FROM notify_json.worker WHERE state = 'serving'";
    while client.query_one(count, &[]).await.expect("it runs").get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
}

/// Peers that are to be installed first; those that cannot be had are noted.
async fn install_peers(bench: &mut Bench, database: &Database) -> Vec<Peer> {
    let installed = [
        (Peer::PgQ(pgq::Ticks::Default), "PgQ", pgq::install(database).await),
        (Peer::Pgmq, "pgmq", pgmq::install(database).await),
    ];
    let mut peers = Vec::new();
    for (peer, name, installed) in installed {
        match installed {
            Ok(version) => {
                peers.push(peer);
                let version = (name.to_owned(), version);
                if !bench.versions.contains(&version) {
                    bench.versions.push(version);
                }
            }
            Err(reason) if bench.notes.contains(&reason) => {}
            Err(reason) => bench.notes.push(reason),
        }
    }
    peers
}
