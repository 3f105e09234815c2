//! After every fault each subscription goes on, has got exactly one gap, and gets every message
//! sent from then on.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nix::sys::signal::Signal;
use notify_json_client::{
    Bounds, ErrorKind, Event, Gap, Listener, ListenerConfig, Message, Overflow, State,
    Subscription, publish, publish_json,
};
use notify_json_tests::{
    Database, Fault, Proxy, Running, Server, ServerOptions, drain, next_message, soak, texts,
};
use tokio::task::JoinSet;
use tokio_postgres::Client;

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Notices and reconnects quickly, but not so quickly that a busy machine looks like a fault.
fn quick(url: &str) -> ListenerConfig {
    let config: ListenerConfig = url.parse().unwrap();
    config
        .heartbeat(milliseconds(100), milliseconds(2_000))
        .reconnect_delay(milliseconds(1), milliseconds(50))
        .connect_timeout(milliseconds(2_000))
}

/// Three subscriptions behind a proxy, and a session that sends past it.
struct Case {
    database: Database,
    proxy: Proxy,
    listener: Listener,
    subscriptions: Vec<Subscription<u32>>,
    sender: Client,
}

const CHANNELS: [&str; 2] = ["a", "b"];

impl Case {
    async fn on(server: &Server) -> Self {
        let database = server.database().await;
        let proxy = Proxy::start(server.port()).await;
        Self::with(database.clone(), quick(&proxy.url(&database)), proxy).await
    }

    async fn with(database: Database, config: ListenerConfig, proxy: Proxy) -> Self {
        let listener = config.connect().await.unwrap();
        let mut subscriptions = Vec::new();
        for channels in [&["a"][..], &["b"], &CHANNELS] {
            subscriptions.push(listener.subscribe_many(channels).await.unwrap());
        }
        let sender = database.connect().await;
        let mut case = Self { database, proxy, listener, subscriptions, sender };
        case.everything_arrives(0).await;
        case
    }

    /// Sends numbers on both channels and expects them, and nothing else, in order.
    async fn everything_arrives(&mut self, start: u32) {
        let numbers: Vec<u32> = (start..start + 20).collect();
        for number in &numbers {
            publish(&self.sender, CHANNELS[*number as usize % 2], number).await.unwrap();
        }
        let parity = |parity| numbers.iter().copied().filter(|n| n % 2 == parity).collect();
        let expected: [Vec<u32>; 3] = [parity(0), parity(1), numbers.clone()];
        for (subscription, expected) in self.subscriptions.iter_mut().zip(expected) {
            assert_eq!(drain(subscription, expected.len()).await, expected);
        }
    }

    async fn wait_for(&self, condition: impl FnMut(&State) -> bool) {
        self.listener.state().wait_for(condition).await.unwrap();
    }

    async fn is_disconnected(&self) {
        self.wait_for(|state| !matches!(state, State::Listening)).await;
    }

    /// Every subscription yields one gap, then everything sent after it, and no further gap.
    async fn one_gap_and_on(&mut self) {
        for subscription in &mut self.subscriptions {
            match subscription.recv().await {
                Some(Ok(Event::Gap(Gap::Reconnected { down_for }))) => {
                    assert!(down_for < Duration::from_secs(60), "{down_for:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        self.everything_arrives(100).await;
    }
}

#[tokio::test]
async fn a_terminated_backend() {
    let mut case = Case::on(Server::shared()).await;
    for _ in 0..3 {
        case.database
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'notify_json' AND datname = current_database()",
            )
            .await;
        case.one_gap_and_on().await;
    }
    assert_eq!(case.listener.counts().reconnects, 3);
    assert_eq!(case.listener.counts().gaps, 9);
}

#[tokio::test]
async fn a_crash_of_the_server() {
    let server = Server::start(&ServerOptions::default());
    let mut case = Case::on(&server).await;
    server.crash_and_restart();
    case.sender = case.database.connect().await;
    case.one_gap_and_on().await;
}

#[tokio::test]
async fn a_stopped_server() {
    let server = Server::start(&ServerOptions::default());
    let mut case = Case::on(&server).await;
    server.signal(Signal::SIGSTOP);
    case.is_disconnected().await;
    server.signal(Signal::SIGCONT);
    case.one_gap_and_on().await;
}

#[tokio::test]
async fn a_connection_cut_within_a_message() {
    let mut case = Case::on(Server::shared()).await;
    for bytes in [1, 300_000, 777_777] {
        case.proxy.close_after(bytes);
        let text = texts::incompressible(1_000_000, 1);
        publish_json(&case.sender, "a", &text).await.unwrap();
        case.one_gap_and_on().await;
    }
}

#[tokio::test]
async fn closed_and_reset_connections() {
    let mut case = Case::on(Server::shared()).await;
    case.proxy.close();
    case.one_gap_and_on().await;
    case.proxy.reset();
    case.one_gap_and_on().await;
}

#[tokio::test]
async fn a_network_that_refuses_for_a_while() {
    let mut case = Case::on(Server::shared()).await;
    case.proxy.set(Fault::Refuse);
    case.proxy.reset();
    case.wait_for(|state| matches!(state, State::Waiting { attempt: 3.., .. })).await;
    publish(&case.sender, "a", &7).await.unwrap();
    case.proxy.set(Fault::None);
    case.one_gap_and_on().await;
    assert_eq!(case.listener.counts().reconnects, 1);
}

#[tokio::test]
async fn black_holes() {
    for (up, down) in [(true, true), (true, false), (false, true)] {
        let mut case = Case::on(Server::shared()).await;
        case.proxy.set(Fault::BlackHole { up, down });
        case.is_disconnected().await;
        publish(&case.sender, "a", &7).await.unwrap();
        case.proxy.set(Fault::None);
        case.one_gap_and_on().await;
    }
}

#[tokio::test]
async fn the_first_host_of_two_gone() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let (_, name) = database.url().rsplit_once('/').unwrap();
    let both = format!(",127.0.0.1:{}/{name}", server.port());
    let url = proxy.url(&database).replace(&format!("/{name}"), &both);
    let mut case = Case::with(database, quick(&url), proxy).await;
    case.proxy.set(Fault::Refuse);
    case.proxy.reset();
    case.one_gap_and_on().await;
}

#[tokio::test]
async fn trickling_and_delayed_answers_are_no_loss() {
    let mut case = Case::on(Server::shared()).await;
    case.proxy.set(Fault::Trickle);
    case.everything_arrives(100).await;
    let text = texts::string("x", 30_000, 1);
    let mut large = case.listener.subscribe::<Message>("large").await.unwrap();
    publish_json(&case.sender, "large", &text).await.unwrap();
    assert_eq!(next_message(&mut large).await.json().unwrap(), text);

    case.proxy.set(Fault::Delay(milliseconds(30)));
    for _ in 0..5 {
        case.listener.listening_channels().await.unwrap();
    }
    case.proxy.set(Fault::None);
    case.everything_arrives(200).await;
    assert_eq!(case.listener.counts().reconnects, 0);
}

#[tokio::test]
async fn a_registration_that_vanished_is_healed() {
    let mut case = Case::on(Server::shared()).await;
    case.proxy.inject_unlisten();
    case.one_gap_and_on().await;
    assert_eq!(case.listener.counts().reconnects, 0, "healed on the same connection");
}

#[tokio::test]
async fn a_dead_peer_is_found_with_defaults() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let listener = Listener::connect(&proxy.url(&database)).await.unwrap();
    let _subscription = listener.subscribe::<u32>("a").await.unwrap();
    proxy.set(Fault::BlackHole { up: true, down: true });
    let mut state = listener.state();
    let noticed = state.wait_for(|state| !matches!(state, State::Listening));
    let noticed = tokio::time::timeout(Duration::from_secs(20), noticed).await;
    noticed.expect("found in under 20 s").unwrap();
}

#[tokio::test]
async fn life_goes_on_while_disconnected() {
    let mut case = Case::on(Server::shared()).await;
    case.proxy.set(Fault::Refuse);
    case.proxy.reset();
    case.is_disconnected().await;
    let listener = &case.listener;
    let subscribing = tokio::join!(
        async {
            let mut new = listener.subscribe::<u32>("new").await.unwrap();
            publish(&case.sender, "new", &1).await.unwrap();
            assert_eq!(next_message(&mut new).await, 1, "no gap: it began after the loss");
            new
        },
        async {
            assert!(listener.subscribe::<u32>(&"x".repeat(64)).await.is_err());
            drop(case.subscriptions.remove(0));
            case.proxy.set(Fault::None);
        }
    );
    drop(subscribing);
    let expected = ["b".to_owned(), "a".to_owned()].into();
    while listener.listening_channels().await.unwrap() != expected {}
}

#[tokio::test]
async fn shutdown_ends_a_backoff_at_once() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let config = quick(&proxy.url(&database));
    let hour = Duration::from_secs(3_600);
    let listener = config.reconnect_delay(hour, hour).connect().await.unwrap();
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    proxy.set(Fault::Refuse);
    proxy.reset();
    listener.state().wait_for(|state| matches!(state, State::Waiting { .. })).await.unwrap();
    listener.shutdown().await;
    assert!(subscription.recv().await.is_none());
    assert!(matches!(*listener.state().borrow(), State::Closed));
}

#[tokio::test]
async fn giving_up_ends_the_streams_with_the_cause() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let config = quick(&proxy.url(&database)).reconnect_attempts(Some(3));
    let listener = config.connect().await.unwrap();
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    proxy.set(Fault::Refuse);
    proxy.reset();
    let error = subscription.recv().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(subscription.recv().await.is_none());
    let error = listener.subscribe::<u32>("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "the cause is kept");
}

#[tokio::test]
async fn what_the_server_refuses_is_reported_and_tried_again() {
    let server = Server::shared();
    let database = server.database().await;
    let name = database.url().rsplit('/').next().unwrap();
    let role = format!("locked_{name}");
    database.execute(&format!("CREATE ROLE {role} LOGIN")).await;
    let config = quick(database.as_role(&role).url());
    let listener = config.clone().connect().await.unwrap();
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    database.execute(&format!("ALTER ROLE {role} NOLOGIN")).await;
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename =";
    database.execute(&format!("{terminate} '{role}'")).await;
    let mut state = listener.state();
    let refused = |state: &State| match state {
        State::Waiting { error, .. } => error.code().is_some_and(|code| code.code() == "28000"),
        _ => false,
    };
    state.wait_for(refused).await.unwrap();
    let error = config.connect().await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "28000", "the very first connect fails at once");
    database.execute(&format!("ALTER ROLE {role} LOGIN")).await;
    let gap = subscription.recv().await.unwrap().unwrap();
    assert!(matches!(gap, Event::Gap(Gap::Reconnected { .. })));
}

#[tokio::test]
async fn the_first_connect_waits_if_told_to() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    proxy.set(Fault::Refuse);
    let config = quick(&proxy.url(&database));
    assert_eq!(config.clone().connect().await.unwrap_err().kind(), ErrorKind::Connect);
    let (listener, ()) = tokio::join!(config.wait_for_server(true).connect(), async {
        tokio::task::yield_now().await;
        proxy.set(Fault::None);
    });
    let mut subscription = listener.unwrap().subscribe::<u32>("a").await.unwrap();
    database.execute("SELECT notify_json('a', '1')").await;
    assert_eq!(next_message(&mut subscription).await, 1);
}

#[tokio::test]
async fn a_channel_that_fails_leaves_the_others_alone() {
    let database = Server::shared().database_with_encoding("LATIN1").await;
    let listener = quick(database.url()).connect().await.unwrap();
    // LATIN1 has no such character, so the server refuses this one.
    let (good, bad, other) = tokio::join!(
        listener.subscribe::<u32>("good"),
        listener.subscribe::<u32>("日本"),
        listener.subscribe::<u32>("other"),
    );
    assert_eq!(bad.unwrap_err().code().unwrap().code(), "22P05");
    let sender = database.connect().await;
    for (channel, mut subscription) in [("good", good.unwrap()), ("other", other.unwrap())] {
        publish(&sender, channel, &1).await.unwrap();
        assert_eq!(next_message(&mut subscription).await, 1);
    }
}

#[tokio::test]
async fn a_standby_is_refused() {
    let primary = Server::start(&ServerOptions::default());
    let standby =
        Server::start(&ServerOptions { standby_of: Some(&primary), ..ServerOptions::default() });
    let error = Listener::connect(&standby.url("postgres")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("target_session_attrs=read-write"), "{error}");
}

#[tokio::test]
async fn overflow_may_close_a_subscription() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let bounds = Bounds { messages: 10, overflow: Overflow::Close, ..Bounds::default() };
    let mut closing = listener.subscribe_bounded::<u32>(["a"], bounds).await.unwrap();
    let mut other = listener.subscribe::<u32>("b").await.unwrap();
    let sender = database.connect().await;
    for number in 0..20 {
        publish(&sender, "a", &number).await.unwrap();
    }
    publish(&sender, "b", &1).await.unwrap();
    assert_eq!(next_message(&mut other).await, 1);
    assert_eq!(drain(&mut closing, 10).await, (0..10).collect::<Vec<_>>());
    assert_eq!(closing.recv().await.unwrap().unwrap_err().kind(), ErrorKind::Overflow);
    assert!(closing.recv().await.is_none());
    while listener.listening_channels().await.unwrap() != ["b".to_owned()].into() {}
}

#[tokio::test]
async fn dropping_recv_at_any_point_loses_nothing() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    let sender = database.connect().await;
    for number in 0..500 {
        publish(&sender, "a", &number).await.unwrap();
    }
    let mut received = Vec::new();
    while received.len() < 500 {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(event) = pin!(subscription.recv()).poll(&mut cx) {
            received.push(event.unwrap().unwrap().message().unwrap());
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(received, (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_does_not_care_about_gaps_says_messages() {
    use futures_util::StreamExt;
    let mut case = Case::on(Server::shared()).await;
    let mut messages = case.listener.subscribe::<u32>("c").await.unwrap().messages();
    case.proxy.close();
    case.one_gap_and_on().await;
    publish(&case.sender, "c", &1).await.unwrap();
    assert_eq!(messages.next().await.unwrap().unwrap(), 1);
}

#[test]
fn a_subscriber_that_never_reads_costs_a_bounded_amount() {
    let mut command = soak();
    let (code, output, errors) = Running::start(command.args(["slow-reader", "1000000"])).finish();
    assert_eq!(code, Some(0), "{output}{errors}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_channels_come_and_go_while_connections_are_cut() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let listener = Arc::new(quick(&proxy.url(&database)).connect().await.unwrap());
    let mut tasks = JoinSet::new();
    for task in 0..50_u64 {
        let (listener, sender) = (listener.clone(), database.connect().await);
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(task);
            for round in 0..20_u64 {
                let channel = format!("c{}", random.u32(0..500));
                let mut subscription = listener.subscribe::<(u64, u64)>(&channel).await.unwrap();
                publish(&sender, &channel, &(task, round)).await.unwrap();
                // What was sent after subscribe returned arrives, or a gap says it may not have.
                loop {
                    match subscription.recv().await.unwrap().unwrap() {
                        Event::Message(message) if message == (task, round) => break,
                        Event::Message(_) => {}
                        Event::Gap(_) => break,
                    }
                }
            }
        });
    }
    let mut cuts = 0;
    while let Some(finished) = tasks.join_next().await {
        finished.unwrap();
        if cuts < 20 {
            cuts += 1;
            proxy.close();
        }
    }
    let kept = listener.subscribe::<u32>("kept").await.unwrap();
    loop {
        // Between two connections there is nobody to ask.
        match listener.listening_channels().await {
            Ok(channels) if channels == ["kept".to_owned()].into() => break,
            _ => tokio::task::yield_now().await,
        }
    }
    drop(kept);
}

#[tokio::test]
async fn a_text_that_ends_the_listeners_session_is_a_gap() {
    let database = Server::shared().database_with_encoding("SQL_ASCII").await;
    let listener = quick(database.url()).connect().await.unwrap();
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    // The server cannot convert it at delivery, and ends the session of whoever listens.
    database.execute(r"SELECT pg_notify('a', E'\xff')").await;
    let gap = subscription.recv().await.unwrap().unwrap();
    assert!(matches!(gap, Event::Gap(Gap::Reconnected { .. })), "{gap:?}");
    database.execute("SELECT notify_json('a', '1')").await;
    assert_eq!(next_message(&mut subscription).await, 1);
}

#[test]
fn a_runtime_that_is_dropped_leaves_nobody_waiting() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (listener, mut subscription) = first.block_on(async {
        let listener = Server::shared().database().await.listener().await;
        let subscription = listener.subscribe::<u32>("a").await.unwrap();
        (listener, subscription)
    });
    drop(first);
    second.block_on(async {
        let error = subscription.recv().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(subscription.recv().await.is_none());
        let error = listener.subscribe::<u32>("a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        listener.shutdown().await;
    });
}
