//! From the call that publishes until a consumer has the event, decoded, at steady rates.

use std::time::Duration;

use super::{Databases, Log};
use crate::document::{Body, Order, Reading};
use crate::figures::{Axis, Scenario, Unit};
use crate::live::{Course, paced};
use crate::peers::{Peer, pgq::Ticks};
use crate::rounds::Bench;

const WRITERS: u64 = 4;

pub(super) async fn run(bench: &mut Bench, databases: &Databases, peers: &[Peer]) {
    let turn = bench.effort.turn * 5 / 2;
    let template = Order::template(100);
    let mut logs = vec![Log::Served, Log::Of(Peer::Durable), Log::Of(Peer::ClaimCheck)];
    for &peer in peers {
        logs.push(Log::Of(peer));
        if matches!(peer, Peer::PgQ(_)) {
            logs.push(Log::Of(Peer::PgQ(Ticks::Often)));
        }
    }
    for per_second in [1_000, 5_000] {
        let period = Duration::from_secs(WRITERS) / per_second;
        bench
            .interleave(&logs, async |log| {
                let (peer, database) = log.place(databases);
                let course = Course {
                    peer,
                    database,
                    publishing: database,
                    template: &template,
                    reading: Reading::Typed,
                };
                let delays = paced::<Order>(course, WRITERS, period, turn).await;
                let at = |percentile| {
                    let family = format!("durable latency {percentile}, 4 writers");
                    Scenario::new(family, Axis::PerSecond, per_second.into(), Unit::Milliseconds)
                };
                vec![(at("p50"), delays.p50), (at("p99"), delays.p99)]
            })
            .await;
    }
}
