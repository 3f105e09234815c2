//! Random faults under steady traffic: between two gaps nothing is missing and nothing comes twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use notify_json_client::{Event, Gap, Listener, ListenerConfig, State, Subscription, publish};
use notify_json_tests::{Database, Fault, Proxy, Server, ServerOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_postgres::Client;

const END: Numbered = Numbered { number: u64::MAX, filling: String::new() };

#[derive(Serialize, Deserialize)]
struct Numbered {
    number: u64,
    filling: String,
}

/// What a subscription has seen.
#[derive(Debug, Default)]
struct Seen {
    messages: u64,
    gaps: u64,
    missed: u64,
}

pub(crate) async fn run(count: u64, seed: u64) {
    let server = Server::start(&ServerOptions::default());
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let config: ListenerConfig = proxy.url(&database).parse().expect("it is a URL");
    let listener = config
        .heartbeat(Duration::from_millis(100), Duration::from_secs(1))
        .reconnect_delay(Duration::from_millis(1), Duration::from_millis(100))
        .connect_timeout(Duration::from_secs(1))
        .connect()
        .await
        .expect("the server runs");
    let mut readers = Vec::new();
    for _ in 0..3 {
        let subscription = listener.subscribe("numbers").await.expect("the server runs");
        readers.push(tokio::spawn(read_all(subscription)));
    }
    let sent = watch::Sender::new(0);
    let stop = Arc::new(AtomicBool::new(false));
    let sender = tokio::spawn(send_all(database, sent.clone(), stop.clone(), seed));

    let mut random = fastrand::Rng::with_seed(seed);
    for fault in 1..=count {
        one_fault(&mut random, &server, &proxy, &listener, &sent).await;
        if fault % 20 == 0 {
            println!("{fault} faults, {} messages sent", *sent.borrow());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let client = sender.await.expect("the sender does not panic");
    let mut readers = join_all(readers);
    let mut state = listener.state();
    let readers = loop {
        // The end is lost only together with its connection.
        publish(&client, "numbers", &END).await.expect("the server runs");
        tokio::select! {
            readers = &mut readers => break readers,
            changed = state.changed() => changed.expect("the listener runs"),
        }
    };
    let reconnects = listener.counts().reconnects;
    for seen in readers {
        let seen = seen.expect("nothing missing but where a gap says so");
        println!("{seen:?}");
        assert_eq!(seen.gaps, reconnects, "one gap a loss");
    }
    println!("{count} faults of seed {seed}, {reconnects} reconnects: every loss had its one gap");
}

/// Brings a fault about while the listener listens, and waits until it has survived it.
async fn one_fault(
    random: &mut fastrand::Rng,
    server: &Server,
    proxy: &Proxy,
    listener: &Listener,
    sent: &watch::Sender<u64>,
) {
    let listening = |state: &State| matches!(state, State::Listening);
    listener.state().wait_for(listening).await.expect("the listener runs");
    let reconnects = listener.counts().reconnects;
    let disconnected = async || {
        let lost = |state: &State| !listening(state);
        listener.state().wait_for(lost).await.expect("the listener runs");
    };
    match random.u32(0..10) {
        0 => proxy.close(),
        1 => proxy.reset(),
        2 => proxy.close_after(random.usize(1..200_000)),
        3 => {
            proxy.set(Fault::Refuse);
            proxy.reset();
            disconnected().await;
        }
        4..=6 => {
            let (up, down) = [(true, true), (true, false), (false, true)][random.usize(0..3)];
            proxy.set(Fault::BlackHole { up, down });
            disconnected().await;
        }
        7 => server.crash_and_restart(),
        8 => {
            server.signal(Signal::SIGSTOP);
            disconnected().await;
            server.signal(Signal::SIGCONT);
        }
        _ => {
            proxy.set([Fault::Trickle, Fault::Delay(Duration::from_millis(5))][random.usize(0..2)]);
            let target = *sent.borrow() + 20;
            sent.subscribe().wait_for(|sent| *sent >= target).await.expect("the sender runs");
            proxy.set(Fault::None);
            return;
        }
    }
    proxy.set(Fault::None);
    let mut state = listener.state();
    while listener.counts().reconnects == reconnects {
        state.changed().await.expect("the listener runs");
    }
}

/// Sends numbers in order, each once, whatever happens to the server, until told to stop.
async fn send_all(
    database: Database,
    sent: watch::Sender<u64>,
    stop: Arc<AtomicBool>,
    seed: u64,
) -> Client {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut client = database.connect_when_up().await;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let bytes = if random.u32(0..50) == 0 { random.usize(0..100_000) } else { 100 };
        let filling = std::iter::repeat_with(|| random.alphanumeric()).take(bytes).collect();
        match publish(&client, "numbers", &Numbered { number, filling }).await {
            Ok(_) => drop(sent.send_replace(number)),
            Err(_) => client = database.connect_when_up().await,
        }
    }
    client
}

/// Between two gaps the numbers follow each other; at a gap they may jump.
async fn read_all(mut subscription: Subscription<Numbered>) -> Seen {
    let mut seen = Seen::default();
    let mut expected = None;
    let mut last = 0;
    loop {
        match subscription.recv().await.expect("the listener runs") {
            Ok(Event::Message(Numbered { number: u64::MAX, .. })) => return seen,
            Ok(Event::Message(Numbered { number, .. })) => {
                if let Some(expected) = expected {
                    assert_eq!(number, expected, "lost or twice without a gap");
                }
                assert!(number > last, "{number} after {last}");
                seen.missed += number - last - 1;
                seen.messages += 1;
                (last, expected) = (number, Some(number + 1));
            }
            Ok(Event::Gap(Gap::Reconnected { .. })) => {
                seen.gaps += 1;
                expected = None;
            }
            other => panic!("{:?}", other.map(|event| event.message().is_some())),
        }
    }
}
