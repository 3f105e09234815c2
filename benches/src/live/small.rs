//! Small typed messages: how many a second, and how soon.

use std::time::Duration;

use notify_json_tests::Database;

use super::{Course, Load, paced, throughput};
use crate::document::{Body, Order, Reading};
use crate::figures::{Axis, Scenario, Unit};
use crate::peers::Peer;
use crate::rounds::Bench;

const PEERS: [Peer; 5] =
    [Peer::NotifyJson, Peer::Raw, Peer::Sqlx, Peer::PgPubSub, Peer::ClaimCheck];

pub(crate) async fn run(bench: &mut Bench, database: &Database) {
    for size in [100, 1_000] {
        by_size(bench, database, size).await;
    }
    for (size, writers) in [(100, 1), (100, 4), (100, 16), (1_000, 4)] {
        by_writers(bench, database, size, writers).await;
    }
}

async fn by_size(bench: &mut Bench, database: &Database, size: usize) {
    let turn = bench.effort.turn;
    let template = Order::template(size);
    let at = |family: &str, unit| {
        Scenario::new(format!("live small, {family}"), Axis::Bytes, size as u64, unit)
    };
    bench
        .interleave(&PEERS, async |peer| {
            let course = Course::here(peer, database, &template, Reading::Typed);
            let load = Load { connections: 1, writers: 1, per_transaction: 1_000, window: 8_000 };
            let rate = throughput::<Order>(course, load, turn).await;
            let delays = paced::<Order>(course, 1, Duration::from_millis(1), turn).await;
            vec![
                (at("throughput, 1,000 a transaction", Unit::MessagesPerSecond), rate),
                (at("latency p50 at 1,000/s", Unit::Milliseconds), delays.p50),
                (at("latency p99 at 1,000/s", Unit::Milliseconds), delays.p99),
            ]
        })
        .await;
}

async fn by_writers(bench: &mut Bench, database: &Database, size: usize, writers: u64) {
    let turn = bench.effort.turn;
    let template = Order::template(size);
    bench
        .interleave(&PEERS, async |peer| {
            let course = Course::here(peer, database, &template, Reading::Typed);
            let load = Load { connections: 1, writers, per_transaction: 1, window: 8_000 };
            let rate = throughput::<Order>(course, load, turn).await;
            let size = Axis::Bytes.show(size as u64);
            let family = format!("live small, throughput, 1 a transaction of {size}");
            let unit = Unit::MessagesPerSecond;
            vec![(Scenario::new(family, Axis::Writers, writers, unit), rate)]
        })
        .await;
}
