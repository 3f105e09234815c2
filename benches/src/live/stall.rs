//! How long others wait to commit a small notification while large messages are sent.
//!
//! All commits that notify take one lock of the cluster. So that the load is the same whoever is
//! faster, 40 MB of messages are sent a second.

use std::time::Duration;

use notify_json_tests::Database;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Course, Delays, Receivers};
use crate::document::{Body, Language, Picture, Reading};
use crate::figures::{Axis, Candidate, Role, Scenario, Unit};
use crate::peers::{Peer, Publisher};
use crate::rounds::Bench;

const BYTES_PER_SECOND: usize = 40_000_000;

/// Who sends large messages meanwhile.
#[derive(Clone, Copy)]
struct Sender(Option<Peer>);

impl From<Sender> for Candidate {
    fn from(Sender(peer): Sender) -> Self {
        peer.map_or_else(|| Self::new("nobody", Role::Limit), Self::from)
    }
}

pub(crate) async fn run(bench: &mut Bench, database: &Database) {
    for size in [64_000, 1_000_000, 8_000_000] {
        measure::<Vec<Language>>(bench, database, size).await;
    }
    measure::<Picture>(bench, database, 1_000_000).await;
}

async fn measure<B: Body>(bench: &mut Bench, database: &Database, size: usize) {
    let turn = bench.effort.turn * 5 / 2;
    let template = B::template(size);
    let period = Duration::from_secs(1) * size as u32 / BYTES_PER_SECOND as u32;
    let senders =
        [None, Some(Peer::NotifyJson), Some(Peer::Raw), Some(Peer::ClaimCheck)].map(Sender);
    bench
        .interleave(&senders, async |Sender(peer)| {
            let until = Instant::now() + turn;
            let sending = async {
                let Some(peer) = peer else { return };
                let course = Course {
                    peer,
                    database,
                    publishing: database,
                    template: &template,
                    reading: Reading::Text,
                };
                let receivers = Receivers::listen::<B>(course, 1, 1).await;
                let mut publisher = Publisher::connect(peer, database).await;
                let mut beats = beats(period);
                let mut id = 0;
                while Instant::now() < until {
                    beats.tick().await;
                    publisher.publish(&[template.stamped(id)]).await;
                    id += 1;
                }
                publisher.publish(&[template.last()]).await;
                receivers.finish().await;
            };
            let ((), delays) = tokio::join!(sending, commits(database, until));
            let scenario = |percentile| {
                let family = format!("live {}, stall of other commits, {percentile}", B::NAME);
                Scenario::new(family, Axis::Bytes, size as u64, Unit::Milliseconds)
            };
            vec![(scenario("p50"), delays.p50), (scenario("p99"), delays.p99)]
        })
        .await;
}

/// How long tiny commits took, a thousand a second.
async fn commits(database: &Database, until: Instant) -> Delays {
    let client = database.connect().await;
    let sql = "SELECT pg_notify('tiny', $1::text)";
    let statement = client.prepare(sql).await.expect("the server runs");
    let mut beats = beats(Duration::from_millis(1));
    let mut delays = Vec::new();
    while Instant::now() < until {
        beats.tick().await;
        let begun = Instant::now();
        let payload = delays.len().to_string();
        client.execute(&statement, &[&payload]).await.expect("the server runs");
        delays.push(begun.elapsed().as_nanos() as u64);
    }
    delays.sort_unstable();
    Delays::of(&delays)
}

/// Missed beats are made up for.
fn beats(period: Duration) -> tokio::time::Interval {
    let mut beats = interval(period);
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    beats
}
