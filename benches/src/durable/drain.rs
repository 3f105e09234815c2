//! One consumer that comes back to a backlog: events a second, decoded and acknowledged by the
//! page, from connecting until the last one.

use std::ops::ControlFlow;
use std::time::Instant;

use notify_json_tests::{Database, Server};

use super::{create, install_peers};
use crate::document::{Body, Order, Reading, Stamps, Template};
use crate::figures::{Axis, Candidate, Role, Scenario, Unit};
use crate::peers::{Peer, Publisher, Start};
use crate::rounds::Bench;

#[derive(Clone, Copy)]
struct Drained(Peer);

impl From<Drained> for Candidate {
    fn from(Drained(peer): Drained) -> Self {
        match peer {
            Peer::Insert => Self::new("SELECT by id", Role::Limit),
            peer => peer.into(),
        }
    }
}

pub(super) async fn run(bench: &mut Bench, server: &Server, peers: &[Peer]) {
    for events in [1_000, 10_000, 100_000] {
        let (axis, at) = (Axis::Backlog, events);
        let scenario = Scenario::new("durable drain, 100 B", axis, at, Unit::MessagesPerSecond);
        measure(bench, server, peers, scenario, Order::template(100), events).await;
    }
    for (size, events) in [(1_000, 30_000), (10_000, 10_000)] {
        let (axis, at) = (Axis::Bytes, size as u64);
        let scenario = Scenario::new("durable drain", axis, at, Unit::MessagesPerSecond);
        measure(bench, server, peers, scenario, Order::template(size), events).await;
    }
}

async fn measure(
    bench: &mut Bench,
    server: &Server,
    peers: &[Peer],
    scenario: Scenario,
    template: Template,
    events: u64,
) {
    // Without what other scenarios have left.
    let database = server.database().await;
    create(&database).await;
    install_peers(bench, &database).await;
    let mut drained = vec![Peer::Durable, Peer::Insert];
    drained.extend(peers);
    for &peer in &drained {
        if peer != Peer::Pgmq {
            fill(&database, peer, &template, events).await;
        }
    }
    database.execute("VACUUM ANALYZE").await;
    let drained: Vec<Drained> = drained.into_iter().map(Drained).collect();
    bench
        .interleave(&drained, async |Drained(peer)| {
            // What is read is gone.
            if peer == Peer::Pgmq {
                fill(&database, peer, &template, events).await;
            }
            let started = Instant::now();
            let mut count = 0;
            let mut receiver = peer.consumer(&database, Start::Earliest).await;
            receiver
                .receive(&mut |text| {
                    count += 1;
                    match Stamps::read::<Order>(text, Reading::Typed).is_last {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                })
                .await;
            let seconds = started.elapsed().as_secs_f64();
            assert_eq!(count, events);
            vec![(scenario.clone(), count as f64 / seconds)]
        })
        .await;
}

/// Publishes a thousand events a transaction, and has PgQ tick after each.
async fn fill(database: &Database, peer: Peer, template: &Template, events: u64) {
    let mut publisher = Publisher::connect(peer, database).await;
    let mut messages: Vec<String> = (1..events).map(|id| template.stamped(id)).collect();
    messages.push(template.last());
    for page in messages.chunks(1_000) {
        publisher.publish(page).await;
        publisher.tick().await;
    }
}
