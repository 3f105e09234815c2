//! Large typed messages: real documents and incompressible ones.

use notify_json_tests::Database;

use super::{Load, one_by_one, throughput};
use crate::document::{Body, Language, Picture};
use crate::figures::{Axis, Scenario, Unit};
use crate::peers::Peer;
use crate::rounds::Bench;

const PEERS: [Peer; 3] = [Peer::NotifyJson, Peer::Raw, Peer::ClaimCheck];

pub(crate) const SIZES: [usize; 3] = [64_000, 1_000_000, 8_000_000];

/// What may be under way from the publisher.
pub(crate) const WINDOW_BYTES: usize = 16_000_000;

pub(crate) async fn run(bench: &mut Bench, database: &Database) {
    for connections in [1, 10] {
        measure::<Vec<Language>>(bench, database, connections).await;
    }
    measure::<Picture>(bench, database, 1).await;
}

async fn measure<B: Body>(bench: &mut Bench, database: &Database, connections: u64) {
    let turn = bench.effort.turn;
    let name = family(B::NAME, connections);
    for size in SIZES {
        let template = B::template(size);
        let at = |measure, unit| {
            Scenario::new(format!("{name}, {measure}"), Axis::Bytes, size as u64, unit)
        };
        bench
            .interleave(&PEERS, async |peer| {
                let window = (WINDOW_BYTES / size).max(2) as u64;
                let load = Load { connections, writers: 1, per_transaction: 1, window };
                let rate = throughput::<B>(peer, database, &template, load, turn).await;
                let delays = one_by_one::<B>(peer, database, &template, connections, turn).await;
                let megabytes = rate * template.bytes() as f64 / 1e6;
                vec![
                    (at("throughput", Unit::MegabytesPerSecond), megabytes),
                    (at("latency p50", Unit::Milliseconds), delays.p50),
                ]
            })
            .await;
    }
}

pub(crate) fn family(kind: &str, connections: u64) -> String {
    format!("live {kind}, {}", Axis::Connections.show(connections))
}
