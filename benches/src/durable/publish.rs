//! Publishing, one event a transaction: with one live consumer, which has to read all of it, and
//! while nobody attends.

use super::{Databases, Log};
use crate::document::{Body, Order, Reading};
use crate::figures::{Axis, Scenario, Unit};
use crate::live::{Course, Load, flow};
use crate::peers::Peer;
use crate::rounds::Bench;

pub(super) async fn run(bench: &mut Bench, databases: &Databases, peers: &[Peer]) {
    let plain = [Log::Of(Peer::Insert), Log::Of(Peer::ClaimCheck)];
    let peers = peers.iter().map(|&peer| Log::Of(peer));
    let consumed: Vec<Log> =
        [Log::Served, Log::Of(Peer::Durable)].into_iter().chain(plain).chain(peers).collect();
    for writers in [1, 4, 16] {
        measure(bench, databases, &consumed, writers, 1).await;
        let alone = [Log::Served, Log::Of(Peer::Insert)];
        measure(bench, databases, &alone, writers, 0).await;
    }
}

async fn measure(
    bench: &mut Bench,
    databases: &Databases,
    logs: &[Log],
    writers: u64,
    consumers: u64,
) {
    // Many writers take a while to find their pace.
    let turn = bench.effort.turn * if writers > 4 { 3 } else { 1 };
    let template = Order::template(100);
    let name = match consumers {
        0 => "nobody attending",
        _ => "one live consumer",
    };
    let at = |measure: &str, unit| {
        let family = format!("durable publish, {name}{measure}");
        Scenario::new(family, Axis::Writers, writers, unit)
    };
    bench
        .interleave(logs, async |log| {
            let (peer, database) = log.place(databases);
            let is_alone = consumers == 0 || peer == Peer::Insert;
            let course = Course {
                peer,
                database,
                publishing: database,
                template: &template,
                reading: Reading::Typed,
            };
            let connections = if is_alone { 0 } else { consumers };
            let load = Load { connections, writers, per_transaction: 1, window: u64::MAX };
            let flow = flow::<Order>(course, load, turn).await;
            let mut figures = vec![(at("", Unit::MessagesPerSecond), flow.sent_per_second())];
            if !is_alone {
                figures.push((at(", how far it is behind", Unit::Milliseconds), flow.behind()));
            }
            figures
        })
        .await;
}
