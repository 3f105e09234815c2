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
    let turn = bench.effort.turn;
    for size in [100, 1_000] {
        let template = Order::template(size);
        bench
            .interleave(&PEERS, async |peer| {
                let course = Course {
                    peer,
                    database,
                    publishing: database,
                    template: &template,
                    reading: Reading::Typed,
                };
                let mut measures = Vec::new();
                for (per_transaction, writers, name) in
                    [(1, 4, "1 a transaction, 4 writers"), (1_000, 1, "1,000 a transaction")]
                {
                    let load = Load { connections: 1, writers, per_transaction, window: 8_000 };
                    let rate = throughput::<Order>(course, load, turn).await;
                    let family = format!("live small, throughput, {name}");
                    let unit = Unit::MessagesPerSecond;
                    measures.push((Scenario::new(family, Axis::Bytes, size as u64, unit), rate));
                }
                let period = Duration::from_millis(1);
                let delays = paced::<Order>(course, 1, period, turn).await;
                for (name, delay) in [("p50", delays.p50), ("p99", delays.p99)] {
                    let family = format!("live small, latency {name} at 1,000/s");
                    let unit = Unit::Milliseconds;
                    measures.push((Scenario::new(family, Axis::Bytes, size as u64, unit), delay));
                }
                measures
            })
            .await;
    }
}
