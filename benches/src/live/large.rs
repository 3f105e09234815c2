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
        let way = Way {
            name: &Axis::Connections.show(connections),
            database,
            publishing: database,
            connections,
        };
        for size in SIZES {
            measure::<Vec<Language>>(bench, &way, size, Reading::Text).await;
        }
        measure::<Vec<Language>>(bench, &way, 1_000_000, Reading::Typed).await;
        if connections == 1 {
            for size in SIZES {
                measure::<Picture>(bench, &way, size, Reading::Text).await;
            }
        }
    }
}

/// The way from publishers to listeners.
pub(crate) struct Way<'a> {
    pub(crate) name: &'a str,
    pub(crate) database: &'a Database,
    pub(crate) publishing: &'a Database,
    pub(crate) connections: u64,
}

pub(crate) async fn measure<B: Body>(
    bench: &mut Bench,
    way: &Way<'_>,
    size: usize,
    reading: Reading,
) {
    let Way { name, database, publishing, connections } = *way;
    let turn = bench.effort.turn;
    let template = B::template(size);
    let typed = if reading == Reading::Typed { ", typed" } else { "" };
    let at = |measure, unit| {
        let family = format!("live {}{typed}, {name}, {measure}", B::NAME);
        Scenario::new(family, Axis::Bytes, size as u64, unit)
    };
    bench
        .interleave(&PEERS, async |peer| {
            let course = Course { peer, database, publishing, template: &template, reading };
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
