//! Large messages, real documents and incompressible ones, until their whole text is there. What
//! decoding adds is the same for all, so it is told once, for real documents of 1 MB.

use notify_json_tests::Database;

use super::{Course, Load, one_by_one, throughput};
use crate::document::{Body, Language, Picture, Reading};
use crate::figures::{Axis, Scenario, Unit};
use crate::peers::Peer;
use crate::rounds::Bench;

const PEERS: [Peer; 3] = [Peer::NotifyJson, Peer::Raw, Peer::ClaimCheck];

pub(crate) const SIZES: [usize; 3] = [64_000, 1_000_000, 8_000_000];

/// What may be under way from the publisher.
pub(crate) const WINDOW_BYTES: usize = 16_000_000;

pub(crate) async fn run(bench: &mut Bench, database: &Database) {
    for connections in [1, 10] {
        for size in SIZES {
            measure::<Vec<Language>>(bench, database, size, connections, Reading::Text).await;
        }
        measure::<Vec<Language>>(bench, database, 1_000_000, connections, Reading::Typed).await;
    }
    for size in SIZES {
        measure::<Picture>(bench, database, size, 1, Reading::Text).await;
    }
}

pub(crate) async fn measure<B: Body>(
    bench: &mut Bench,
    database: &Database,
    size: usize,
    connections: u64,
    reading: Reading,
) {
    let turn = bench.effort.turn;
    let name = family(B::NAME, connections, reading);
    let template = B::template(size);
    let at =
        |measure, unit| Scenario::new(format!("{name}, {measure}"), Axis::Bytes, size as u64, unit);
    bench
        .interleave(&PEERS, async |peer| {
            let course = Course { peer, database, template: &template, reading };
            let window = (WINDOW_BYTES / size).max(2) as u64;
            let load = Load { connections, writers: 1, per_transaction: 1, window };
            let rate = throughput::<B>(course, load, turn).await;
            let delays = one_by_one::<B>(course, connections, turn).await;
            let megabytes = rate * template.bytes() as f64 / 1e6;
            vec![
                (at("throughput", Unit::MegabytesPerSecond), megabytes),
                (at("latency p50", Unit::Milliseconds), delays.p50),
            ]
        })
        .await;
}

pub(crate) fn family(kind: &str, connections: u64, reading: Reading) -> String {
    let typed = if reading == Reading::Typed { ", typed" } else { "" };
    format!("live {kind}{typed}, {}", Axis::Connections.show(connections))
}
