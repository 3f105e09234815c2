//! One message to many: subscriptions of one process, and connections.

use std::sync::Arc;
use std::time::Instant;

use notify_json_client::{Event, Message};
use notify_json_tests::Database;
use tokio::task::JoinSet;

use super::{Arrivals, Course, Delays, Load, one_by_one, throughput};
use crate::document::{Body, Language, Order, Reading, Stamps};
use crate::figures::{Axis, Candidate, Role, Scenario, Unit};
use crate::peers::{CHANNEL, Peer, Publisher, shared};
use crate::rounds::Bench;

pub(crate) async fn run(bench: &mut Bench, database: &Database) {
    connections(bench, database).await;
    for subscriptions in [1, 100, 10_000] {
        let peers = [Peer::NotifyJson, Peer::Raw, Peer::PgPubSub].map(Fan);
        subscribe::<Order>(bench, database, &peers, subscriptions, Readers::All).await;
        // Its frames would come to each subscription of pgpubsub by themselves.
        subscribe::<Vec<Language>>(bench, database, &peers[..2], subscriptions, Readers::One).await;
    }
}

async fn connections(bench: &mut Bench, database: &Database) {
    const PEERS: [Peer; 4] = [Peer::NotifyJson, Peer::Raw, Peer::Sqlx, Peer::PgPubSub];
    let turn = bench.effort.turn;
    let template = Order::template(100);
    for connections in [1, 20, 100] {
        bench
            .interleave(&PEERS, async |peer| {
                let course = Course::here(peer, database, &template, Reading::Typed);
                let at = |family: &str, unit| {
                    Scenario::new(family, Axis::Connections, connections, unit)
                };
                // All connections together have to read what is under way at the end.
                let window = (8_000 / connections).max(1_000);
                let load = Load { connections, writers: 1, per_transaction: 1_000, window };
                let rate = throughput::<Order>(course, load, turn).await;
                let delays = one_by_one::<Order>(course, connections, turn).await;
                vec![
                    (at("fan-out, throughput, 1,000 a transaction", Unit::MessagesPerSecond), rate),
                    (at("fan-out, latency until all have it", Unit::Milliseconds), delays.p50),
                ]
            })
            .await;
    }
}

/// A peer that one process subscribes to many times.
#[derive(Clone, Copy)]
struct Fan(Peer);

impl From<Fan> for Candidate {
    fn from(Fan(peer): Fan) -> Self {
        match peer {
            Peer::Raw => Self::new("raw tokio-postgres, broadcast", Role::Peer),
            peer => peer.into(),
        }
    }
}

/// Who decodes the message; the others take it as it is.
#[derive(Clone, Copy, PartialEq)]
enum Readers {
    All,
    One,
}

async fn subscribe<B: Body>(
    bench: &mut Bench,
    database: &Database,
    peers: &[Fan],
    subscriptions: u64,
    readers: Readers,
) {
    let turn = bench.effort.turn / 2;
    let (template, name) = match readers {
        Readers::All => (B::template(100), "100 B, all decode it"),
        Readers::One => (B::template(1_000_000), "1 MB, one decodes it"),
    };
    bench
        .interleave(peers, async |Fan(peer)| {
            let arrivals = Arc::<Arrivals>::default();
            let arrived = {
                let (arrivals, template) = (arrivals.clone(), template.clone());
                move || arrivals.add(template.now_ns())
            };
            let tasks = match peer {
                Peer::NotifyJson => ours::<B>(database, subscriptions, readers, arrived).await,
                _ => by_hand::<B>(peer, database, subscriptions, readers, arrived).await,
            };
            let mut publisher = Publisher::connect(peer, database).await;
            let (mut delays, started, mut id) = (Vec::new(), Instant::now(), 0);
            while started.elapsed() < turn || id < 3 {
                let begun = template.now_ns();
                publisher.publish(&[template.stamped(id)]).await;
                id += 1;
                arrivals.wait_for(id * subscriptions).await;
                delays.push(arrivals.last_ns() - begun);
            }
            drop(tasks);
            delays.remove(0);
            delays.sort_unstable();
            let family = format!("fan-out in one process, {name}");
            let axis = Axis::Subscriptions;
            let scenario = Scenario::new(family, axis, subscriptions, Unit::Milliseconds);
            vec![(scenario, Delays::of(&delays).p50)]
        })
        .await;
}

/// Starts tasks that subscribe and never end by themselves.
async fn ours<B: Body>(
    database: &Database,
    subscriptions: u64,
    readers: Readers,
    arrived: impl Fn() + Clone + Send + 'static,
) -> JoinSet<()> {
    let listener = database.listener().await;
    let mut tasks = JoinSet::new();
    for number in 0..subscriptions {
        let reads = readers == Readers::All || number == 0;
        let mut subscription =
            listener.subscribe::<Message>(CHANNEL).await.expect("the server runs");
        let arrived = arrived.clone();
        tasks.spawn(async move {
            while let Some(Ok(Event::Message(message))) = subscription.recv().await {
                if reads {
                    let text = message.json().expect("it was sent like this");
                    Stamps::read::<B>(text, Reading::Typed);
                }
                arrived();
            }
            panic!("not a message");
        });
    }
    tasks.spawn(async move {
        let _listener = listener;
        std::future::pending::<()>().await;
    });
    tasks
}

async fn by_hand<B: Body>(
    peer: Peer,
    database: &Database,
    subscriptions: u64,
    readers: Readers,
    arrived: impl Fn() + Clone + Send + 'static,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let all = shared::subscribe(peer, database, subscriptions, &mut tasks).await;
    for (number, mut subscription) in all.into_iter().enumerate() {
        let (reads, arrived) = (readers == Readers::All || number == 0, arrived.clone());
        tasks.spawn(async move {
            while let Some(text) = subscription.next().await {
                if reads {
                    Stamps::read::<B>(&text, Reading::Typed);
                }
                arrived();
            }
        });
    }
    tasks
}
