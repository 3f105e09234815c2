//! Live channels: what one turn of a candidate is.

pub(crate) mod fan_out;
pub(crate) mod large;
pub(crate) mod queue;
pub(crate) mod slow_link;
pub(crate) mod small;
pub(crate) mod stall;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use notify_json_tests::Database;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::document::{Body, Reading, Stamps, Template};
use crate::peers::{Peer, Publisher};

/// How many messages have arrived, of all connections together.
#[derive(Default)]
pub(crate) struct Arrivals {
    count: AtomicU64,
    /// Up to which count somebody waits.
    awaited: AtomicU64,
    /// When the last one came.
    last_ns: AtomicU64,
    news: Notify,
}

impl Arrivals {
    pub(crate) fn add(&self, now_ns: u64) {
        self.last_ns.fetch_max(now_ns, Relaxed);
        // In one order with the two accesses below: either the count is seen there, or here that it
        // is awaited.
        if self.count.fetch_add(1, SeqCst) + 1 == self.awaited.load(SeqCst) {
            self.news.notify_one();
        }
    }

    /// Waits until so many have come. One waits at a time.
    pub(crate) async fn wait_for(&self, count: u64) {
        self.awaited.store(count, SeqCst);
        while self.count.load(SeqCst) < count {
            self.news.notified().await;
        }
    }

    pub(crate) fn last_ns(&self) -> u64 {
        self.last_ns.load(Relaxed)
    }
}

/// What the messages of a turn are, and who carries them.
#[derive(Clone, Copy)]
pub(crate) struct Course<'a> {
    pub(crate) peer: Peer,
    pub(crate) database: &'a Database,
    /// The same one, as publishers connect to it.
    pub(crate) publishing: &'a Database,
    pub(crate) template: &'a Template,
    pub(crate) reading: Reading,
}

impl<'a> Course<'a> {
    /// Publishers connect as listeners do.
    fn here(peer: Peer, database: &'a Database, template: &'a Template, reading: Reading) -> Self {
        Self { peer, database, publishing: database, template, reading }
    }
}

/// Connections that listen, and what they have received.
pub(crate) struct Receivers {
    pub(crate) arrivals: Arc<Arrivals>,
    connections: u64,
    tasks: Vec<JoinHandle<Vec<u64>>>,
}

impl Receivers {
    /// They end when they have seen the last messages of so many writers.
    pub(crate) async fn listen<B: Body>(
        course: Course<'_>,
        connections: u64,
        writers: u64,
    ) -> Self {
        let Course { peer, database, template, reading, .. } = course;
        let arrivals = Arc::<Arrivals>::default();
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let mut receiver = peer.receiver(database).await;
            let (template, arrivals) = (template.clone(), arrivals.clone());
            tasks.push(tokio::spawn(async move {
                let (mut delays, mut ended) = (Vec::new(), 0);
                let mut seen = |text: &str| {
                    let stamps = Stamps::read::<B>(text, reading);
                    let now = template.now_ns();
                    if stamps.is_last {
                        ended += 1;
                    } else {
                        delays.push(now - stamps.sent_ns);
                        arrivals.add(now);
                    }
                    if ended == writers {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                };
                receiver.receive(&mut seen).await;
                delays
            }));
        }
        Self { arrivals, connections, tasks }
    }

    /// Waits until all connections have so many messages.
    pub(crate) async fn wait_for(&self, messages: u64) {
        self.arrivals.wait_for(messages * self.connections).await;
    }

    /// Waits for their ends, and returns the delays of all messages, in nanoseconds and sorted.
    pub(crate) async fn finish(self) -> Vec<u64> {
        let mut delays = Vec::new();
        for task in self.tasks {
            delays.append(&mut task.await.expect("it does not panic"));
        }
        delays.sort_unstable();
        delays
    }
}

/// How messages are sent as fast as they can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) writers: u64,
    pub(crate) per_transaction: u64,
    /// Messages that may be under way from one writer.
    pub(crate) window: u64,
}

/// What came of sending for a while.
pub(crate) struct Flow {
    sent: u64,
    /// From the first call until the last one returned.
    sending: Duration,
    /// Until all connections had read the last message.
    pub(crate) reading: Duration,
}

impl Flow {
    pub(crate) fn sent_per_second(&self) -> f64 {
        self.sent as f64 / self.sending.as_secs_f64()
    }

    /// How much longer reading took, in milliseconds; at least one, below which it means nothing.
    pub(crate) fn behind(&self) -> f64 {
        (self.reading.saturating_sub(self.sending).as_secs_f64() * 1e3).max(1.0)
    }
}

/// Messages a second, from the first call until all connections have read the last one.
pub(crate) async fn throughput<B: Body>(course: Course<'_>, load: Load, turn: Duration) -> f64 {
    let flow = flow::<B>(course, load, turn).await;
    flow.sent as f64 / flow.reading.as_secs_f64()
}

/// Sends as fast as the load allows.
pub(crate) async fn flow<B: Body>(course: Course<'_>, load: Load, turn: Duration) -> Flow {
    let Load { connections, writers, per_transaction, window } = load;
    let Course { peer, publishing, template, .. } = course;
    let receivers = Receivers::listen::<B>(course, connections, writers).await;
    let mut publishers = Vec::new();
    for _ in 0..writers {
        publishers.push(Publisher::connect(peer, publishing).await);
    }
    // What the first message of a connection costs is not what is asked.
    for publisher in &mut publishers {
        publisher.publish(&[template.stamped(0)]).await;
        publisher.tick().await;
    }
    receivers.wait_for(writers).await;
    let receivers = Arc::new(receivers);
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let begun = template.now_ns();
    let tasks = publishers.into_iter().zip(0..).map(|(mut publisher, writer)| {
        let (template, receivers, stop) = (template.clone(), receivers.clone(), stop.clone());
        tokio::spawn(async move {
            let mut sent = 0;
            while !stop.load(Relaxed) {
                // Ids are of one writer each: equal messages of a transaction would be one.
                let ids = sent + 1..=sent + per_transaction;
                let messages: Vec<String> =
                    ids.map(|id| template.stamped(writer * 1_000_000_000 + id)).collect();
                publisher.publish(&messages).await;
                sent += per_transaction;
                if writers == 1 && sent > window {
                    receivers.wait_for(1 + sent - window).await;
                }
            }
            publisher.publish(&[template.last()]).await;
            sent
        })
    });
    let tasks = join_all(tasks.collect::<Vec<_>>());
    tokio::time::sleep_until((started + turn).into()).await;
    stop.store(true, Relaxed);
    let sent: u64 = tasks.await.into_iter().map(|sent| sent.expect("it does not panic")).sum();
    let sending = started.elapsed();
    let Some(receivers) = Arc::into_inner(receivers) else { unreachable!("the writers ended") };
    let arrivals = receivers.arrivals.clone();
    receivers.finish().await;
    Flow { sent, sending, reading: Duration::from_nanos(arrivals.last_ns().saturating_sub(begun)) }
}

/// Delays from the call until the message is read, in milliseconds.
pub(crate) struct Delays {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Delays {
    pub(crate) fn of(sorted_ns: &[u64]) -> Self {
        let at = |percent| sorted_ns[(sorted_ns.len() - 1) * percent / 100] as f64 / 1e6;
        Self { p50: at(50), p99: at(99) }
    }
}

/// One message every so often from each writer, to one connection.
pub(crate) async fn paced<B: Body>(
    course: Course<'_>,
    writers: u64,
    period: Duration,
    turn: Duration,
) -> Delays {
    let Course { peer, publishing, template, .. } = course;
    let receivers = Receivers::listen::<B>(course, 1, writers).await;
    let messages = (turn.as_nanos() / period.as_nanos()).max(20) as u64;
    let writing = (0..writers).map(async |_| {
        let mut publisher = Publisher::connect(peer, publishing).await;
        let mut beats = interval(period);
        beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for id in 0..messages {
            beats.tick().await;
            publisher.publish(&[template.stamped(id)]).await;
        }
        publisher.publish(&[template.last()]).await;
    });
    join_all(writing).await;
    Delays::of(&receivers.finish().await)
}

/// One message after the other, each once all connections have the one before: how long until they
/// do, in milliseconds.
pub(crate) async fn one_by_one<B: Body>(
    course: Course<'_>,
    connections: u64,
    turn: Duration,
) -> Delays {
    let Course { peer, publishing, template, .. } = course;
    let receivers = Receivers::listen::<B>(course, connections, 1).await;
    let mut publisher = Publisher::connect(peer, publishing).await;
    let mut delays = Vec::new();
    let started = Instant::now();
    let mut id = 0;
    while started.elapsed() < turn || id < 3 {
        let begun = template.now_ns();
        publisher.publish(&[template.stamped(id)]).await;
        id += 1;
        receivers.wait_for(id).await;
        delays.push(receivers.arrivals.last_ns() - begun);
    }
    publisher.publish(&[template.last()]).await;
    receivers.finish().await;
    delays.remove(0);
    delays.sort_unstable();
    Delays::of(&delays)
}
