//! What can be done, and is told, while there is no connection.

use std::sync::Arc;
use std::time::Duration;

use notify_json_client::{Error, ErrorKind, Event, Gap, State, publish};
use notify_json_tests::{Fault, Proxy, Server, next_message};
use tokio::task::JoinSet;

use crate::case::{Case, milliseconds, quick};

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
    is_reconnected(subscription.recv().await);
    assert!(subscription.recv().await.is_none());
    assert!(matches!(*listener.state().borrow(), State::Closed));
}

fn is_reconnected(item: Option<Result<Event<u32>, Error>>) {
    assert!(matches!(item, Some(Ok(Event::Gap(Gap::Reconnected { .. })))), "{item:?}");
}

#[tokio::test]
async fn a_loss_in_answer_to_listen_is_a_loss() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let listener = quick(&proxy.url(&database)).connect().await.unwrap();
    let mut first = listener.subscribe::<u32>("a").await.unwrap();
    let mut state = listener.state();
    proxy.set(Fault::BlackHole { up: true, down: false });
    let subscribing = listener.subscribe_many::<u32>(["b", "c"]);
    let end_session = async {
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE datname = current_database() AND application_name = 'notify_json'";
        database.execute(terminate).await;
        state.wait_for(|state| !matches!(state, State::Listening)).await.unwrap();
        proxy.set(Fault::None);
    };
    let (second, ()) = tokio::join!(subscribing, end_session);
    is_reconnected(first.recv().await);
    let mut second = second.unwrap();
    database.execute("SELECT notify_json('a', '1'), notify_json('b', '2')").await;
    assert_eq!(next_message(&mut first).await, 1);
    assert_eq!(next_message(&mut second).await, 2);
    assert_eq!(listener.counts().gaps, 1);
}

#[tokio::test]
async fn a_connection_lost_as_soon_as_it_is_made_is_no_success() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let config = quick(&proxy.url(&database)).heartbeat(milliseconds(60_000), milliseconds(2_000));
    let listener = config.reconnect_attempts(Some(3)).connect().await.unwrap();
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    proxy.set(Fault::CloseAt("LISTEN \"a\""));
    proxy.close();
    is_reconnected(subscription.recv().await);
    let error = subscription.recv().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{error:?}");
    assert!(subscription.recv().await.is_none());
    assert_eq!(listener.counts().reconnects, 3);
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
    is_reconnected(subscription.recv().await);
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
