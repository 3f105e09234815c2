//! Futures dropped at every point where they wait: nothing is lost and nothing is left behind.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures_util::StreamExt;
use notify_json_client::{
    ErrorKind, Event, Gap, Listener, ListenerConfig, State, connect, publish,
};
use notify_json_tests::{Fault, Proxy, Server, next_message, texts};
use tokio_postgres::Client;

use crate::case::quick;

/// Polls a future so often, as it is woken, then drops it: at once, or when it is woken again.
async fn poll_and_drop<F: Future>(future: F, polls: u32, late: bool) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|cx| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polled == polls && !late => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Drops the futures made by `start` after ever more polls, with a check after each, until one is
/// done.
async fn drop_at_every_await<T>(
    mut start: impl AsyncFnMut() -> T,
    mut check: impl AsyncFnMut(),
) -> T {
    let mut polls = 0;
    loop {
        for late in [false, true] {
            if let Some(output) = poll_and_drop(start(), polls, late).await {
                return output;
            }
            check().await;
        }
        polls += 1;
    }
}

/// Waits until the session that asks is the only one of its database.
async fn alone(client: &Client) {
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while client.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {}
}

/// Waits until the server lists exactly these channels.
async fn listens_to(listener: &Listener, channels: &[&str]) {
    let expected: BTreeSet<String> = channels.iter().map(|&name| name.to_owned()).collect();
    while !listener.listening_channels().await.is_ok_and(|listed| listed == expected) {
        tokio::task::yield_now().await;
    }
}

const ROUNDS: u32 = 5;

#[tokio::test]
async fn connecting_leaves_no_connection() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    for _ in 0..ROUNDS {
        let connecting = async || Listener::connect(database.url()).await;
        let listener = drop_at_every_await(connecting, || alone(&client)).await.unwrap();
        let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
        publish(&client, "a", &1).await.unwrap();
        assert_eq!(next_message(&mut subscription).await, 1);
        listener.shutdown().await;
        alone(&client).await;

        let connecting = async || connect(database.url()).await;
        let (_, connection) = drop_at_every_await(connecting, || alone(&client)).await.unwrap();
        drop(connection);
        alone(&client).await;
    }
}

#[tokio::test]
async fn waiting_for_the_server_leaves_no_connection() {
    let server = Server::shared();
    let database = server.database().await;
    let client = database.connect().await;
    let proxy = Proxy::start(server.port()).await;
    let config: ListenerConfig = quick(&proxy.url(&database)).wait_for_server(true);
    let connecting = async || config.clone().connect().await;
    proxy.set(Fault::Refuse);
    for polls in 0..20 {
        assert!(poll_and_drop(connecting(), polls, polls % 2 == 0).await.is_none());
    }
    proxy.set(Fault::None);
    let listener = drop_at_every_await(connecting, || alone(&client)).await.unwrap();
    listens_to(&listener, &[]).await;
    drop(listener);
    alone(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_leaves_no_listen_and_disturbs_nobody() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let sender = database.connect().await;
    let mut kept = listener.subscribe::<u32>("kept").await.unwrap();
    let mut number = 0;
    for round in 0..4 * ROUNDS {
        let subscribing = async || listener.subscribe_many::<u32>(["kept", "new"]).await;
        let check = async || {
            // Half of the time the next one comes while the UNLISTEN of this one is under way.
            if round % 2 == 0 {
                listens_to(&listener, &["kept"]).await;
            }
            number += 1;
            publish(&sender, "kept", &number).await.unwrap();
            assert_eq!(next_message(&mut kept).await, number);
        };
        let mut new = drop_at_every_await(subscribing, check).await.unwrap();
        number += 1;
        publish(&sender, "new", &0).await.unwrap();
        publish(&sender, "kept", &number).await.unwrap();
        assert_eq!(next_message(&mut new).await, 0);
        assert_eq!(next_message(&mut new).await, number);
        assert_eq!(next_message(&mut kept).await, number);
    }
    listens_to(&listener, &["kept"]).await;

    let subscribing = async || listener.subscribe::<u32>("alone").await;
    drop(drop_at_every_await(subscribing, async || {}).await.unwrap());
    listens_to(&listener, &["kept"]).await;
    assert_eq!(listener.counts().gaps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_while_disconnected_leaves_no_listen() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let listener = quick(&proxy.url(&database)).connect().await.unwrap();
    let mut kept = listener.subscribe::<u32>("kept").await.unwrap();
    for round in 0..10 {
        proxy.set(Fault::Refuse);
        proxy.reset();
        let lost = |state: &State| !matches!(state, State::Listening);
        listener.state().wait_for(lost).await.unwrap();
        let subscribing = listener.subscribe_many::<u32>(["kept", "new"]);
        assert!(poll_and_drop(subscribing, 1, false).await.is_none());
        // This one waits through the reconnect, and is dropped at some point of it.
        let (_, ()) = tokio::join!(
            poll_and_drop(listener.subscribe_many::<u32>(["kept", "new"]), round / 2, true),
            async { proxy.set(Fault::None) }
        );
        let gap = kept.recv().await.unwrap().unwrap();
        assert!(matches!(gap, Event::Gap(Gap::Reconnected { .. })), "{gap:?}");
        listens_to(&listener, &["kept"]).await;
        database.execute(&format!("SELECT notify_json('kept', '{round}')")).await;
        assert_eq!(next_message(&mut kept).await, round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receiving_loses_nothing() {
    const COUNT: u32 = 600;
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let listener = quick(&proxy.url(&database)).connect().await.unwrap();
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    let sender = database.connect().await;
    let sending = async {
        for number in 0..COUNT {
            publish(&sender, "a", &number).await.unwrap();
            if number == COUNT / 2 {
                while listener.counts().received <= number.into() {
                    tokio::task::yield_now().await;
                }
                proxy.close();
                let lost = |state: &State| !matches!(state, State::Listening);
                listener.state().wait_for(lost).await.unwrap();
                let again = |state: &State| matches!(state, State::Listening);
                listener.state().wait_for(again).await.unwrap();
            }
        }
    };
    let receiving = async {
        let (mut received, mut gaps, mut turns) = (Vec::new(), 0, 0);
        while received.len() < COUNT as usize {
            turns += 1;
            let (polls, late) = (turns / 4 % 3, turns % 2 == 0);
            let event = match turns / 2 % 2 {
                0 => poll_and_drop(subscription.recv(), polls, late).await,
                _ => poll_and_drop(subscription.next(), polls, late).await,
            };
            match event {
                Some(Some(Ok(Event::Message(number)))) => received.push(number),
                Some(Some(Ok(Event::Gap(_)))) => gaps += 1,
                None => tokio::task::yield_now().await,
                Some(other) => panic!("{other:?}"),
            }
        }
        (received, gaps)
    };
    let ((), (received, gaps)) = tokio::join!(sending, receiving);
    assert_eq!(received, (0..COUNT).collect::<Vec<_>>());
    assert_eq!(gaps, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_goes_on_without_its_future() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    for _ in 0..ROUNDS {
        let mut polls = 1;
        let mut finished = false;
        while !finished {
            for late in [false, true] {
                let listener = database.listener().await;
                let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
                assert!(poll_and_drop(listener.shutdown(), 0, late).await.is_none());
                publish(&client, "a", &1).await.unwrap();
                while listener.counts().received < 1 {
                    tokio::task::yield_now().await;
                }
                finished |= poll_and_drop(listener.shutdown(), polls, late).await.is_some();
                assert_eq!(next_message(&mut subscription).await, 1);
                assert!(subscription.recv().await.is_none());
                let error = listener.subscribe::<u32>("a").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Closed);
                alone(&client).await;
            }
            polls += 1;
        }
    }
}

#[tokio::test]
async fn publishing_sends_the_whole_message_or_nothing() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<(u32, String)>("a").await.unwrap();
    let mut sender = database.connect().await;
    let filling = texts::incompressible(50_000, 1);
    let (mut number, mut done) = (0, Vec::new());
    for _ in 0..ROUNDS {
        let sending = async || {
            number += 1;
            publish(&sender, "a", &(number, &filling)).await.unwrap();
            number
        };
        done.push(drop_at_every_await(sending, async || {}).await);
    }
    publish(&sender, "a", &(u32::MAX, "")).await.unwrap();
    let mut last = 0;
    loop {
        let (number, received) = next_message(&mut subscription).await;
        if number == u32::MAX {
            break;
        }
        assert!(number > last && received == filling, "{number} after {last}");
        assert!(!done.iter().any(|done| (last + 1..number).contains(done)), "{number}: {done:?}");
        last = number;
    }
    assert_eq!(Some(&last), done.last());

    for polls in 0..4 {
        for committed in [false, true] {
            let transaction = sender.transaction().await.unwrap();
            let lost = (polls, filling.clone());
            poll_and_drop(publish(&transaction, "a", &lost), polls, false).await;
            publish(&transaction, "a", &(u32::MAX, "")).await.unwrap();
            match committed {
                true => transaction.commit().await.unwrap(),
                false => transaction.rollback().await.unwrap(),
            }
            if committed {
                let mut received = next_message(&mut subscription).await;
                if received.0 != u32::MAX {
                    assert!(received == lost);
                    received = next_message(&mut subscription).await;
                }
                assert_eq!(received, (u32::MAX, String::new()));
            }
        }
    }
}

#[tokio::test]
async fn asking_for_the_channels_changes_nothing() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
    for number in 0..ROUNDS {
        let asking = async || listener.listening_channels().await;
        let listed = drop_at_every_await(asking, async || {}).await.unwrap();
        assert_eq!(listed, ["a".to_owned()].into());
        database.execute(&format!("SELECT notify_json('a', '{number}')")).await;
        assert_eq!(next_message(&mut subscription).await, number);
    }
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
