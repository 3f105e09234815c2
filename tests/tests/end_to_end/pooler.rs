//! A listener through PgBouncer.

use notify_json_client::{ErrorKind, Event, Gap, Listener, State, publish};
use notify_json_tests::{Fault, PgBouncer, Proxy, Server, drain, next_message};

use crate::case::quick;

#[tokio::test]
async fn transaction_mode_is_refused_with_the_way_out() {
    let database = Server::shared().database().await;
    for mode in ["transaction", "statement"] {
        let pooler = PgBouncer::start(Server::shared(), &[("pool_mode", mode)]);
        let error = Listener::connect(pooler.database(&database).url()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{mode}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("connect to the server itself"), "{text}");
        assert!(text.contains("session mode"), "{text}");
    }
}

#[tokio::test]
async fn session_mode_works_and_survives_the_poolers_death() {
    let database = Server::shared().database().await;
    let pooler = PgBouncer::start(Server::shared(), &[("pool_mode", "session")]);
    let listener = quick(pooler.database(&database).url()).connect().await.unwrap();
    let mut subscription = listener.subscribe_many::<u64>(["a", "b"]).await.unwrap();
    let sender = database.connect().await;
    for number in 0..20_u64 {
        publish(&sender, ["a", "b"][number as usize % 2], &number).await.unwrap();
    }
    assert_eq!(drain(&mut subscription, 20).await, (0..20).collect::<Vec<_>>());

    for round in 1..=3 {
        pooler.kill();
        let refused = |state: &State| matches!(state, State::Waiting { attempt: 2.., .. });
        listener.state().wait_for(refused).await.unwrap();
        publish(&sender, "a", &1_000_u64).await.unwrap();
        pooler.restart();
        let gap = subscription.recv().await.unwrap().unwrap();
        assert!(matches!(gap, Event::Gap(Gap::Reconnected { .. })), "{gap:?}");
        publish(&sender, "b", &round).await.unwrap();
        assert_eq!(next_message(&mut subscription).await, round, "and no further gap");
        assert_eq!(listener.counts().gaps, round);
        assert_eq!(listener.counts().reconnects, round);
    }
}

#[tokio::test]
async fn a_session_given_back_to_the_pool_listens_no_more() {
    let database = Server::shared().database().await;
    let settings = [("pool_mode", "session"), ("default_pool_size", "2")];
    let pooler = PgBouncer::start(Server::shared(), &settings);
    let pooled = pooler.database(&database);
    for _ in 0..5 {
        let listener = pooled.listener().await;
        assert!(listener.listening_channels().await.unwrap().is_empty());
        let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
        database.execute("SELECT notify_json('a', '1')").await;
        assert_eq!(next_message(&mut subscription).await, 1);
        listener.shutdown().await;
    }
}

#[tokio::test]
async fn transaction_mode_that_hides_is_found_by_the_heartbeat() {
    let database = Server::shared().database().await;
    let settings = [("pool_mode", "transaction"), ("server_round_robin", "1")];
    let pooler = PgBouncer::start(Server::shared(), &settings);
    let pooled = pooler.database(&database);
    // With three sessions to choose from, the second connection does not get that of the first.
    let mut clients = [pooled.connect().await, pooled.connect().await, pooled.connect().await];
    let mut transactions = Vec::new();
    for client in &mut clients {
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute("SELECT 1").await.unwrap();
        transactions.push(transaction);
    }
    for transaction in transactions {
        transaction.commit().await.unwrap();
    }
    let listener = quick(pooled.url()).connect().await.unwrap();
    let refused = |state: &State| match state {
        State::Waiting { error, .. } => error.kind() == ErrorKind::Unsupported,
        _ => false,
    };
    listener.state().wait_for(refused).await.unwrap();
}

#[tokio::test]
async fn a_reconnect_refuses_transaction_mode_too() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    let pooler = PgBouncer::start(server, &[("pool_mode", "transaction")]);
    let (direct, pooled) = (proxy.url(&database), pooler.database(&database));
    let port = direct.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1;
    let folder = pooled.url().split("host=").nth(1).unwrap().split('&').next().unwrap();
    let name = database.url().rsplit('/').next().unwrap();
    let both = format!(
        "host=127.0.0.1,{folder} port={port},6432 user=postgres dbname={name} sslmode=disable"
    );
    let listener = quick(&both).connect().await.unwrap();
    let mut subscription = listener.subscribe::<u64>("a").await.unwrap();
    proxy.set(Fault::Refuse);
    proxy.reset();
    let refused = |state: &State| matches!(state, State::Waiting { error, .. } if error.kind() == ErrorKind::Unsupported);
    listener.state().wait_for(refused).await.unwrap();
    proxy.set(Fault::None);
    let gap = subscription.recv().await.unwrap().unwrap();
    assert!(matches!(gap, Event::Gap(Gap::Reconnected { .. })), "{gap:?}");
    publish(&database.connect().await, "a", &1).await.unwrap();
    assert_eq!(next_message(&mut subscription).await, 1);
}

#[tokio::test]
async fn transaction_mode_is_refused_once_it_can_be_told() {
    let database = Server::shared().database().await;
    let settings = [("pool_mode", "transaction"), ("max_client_conn", "2")];
    let pooler = PgBouncer::start(Server::shared(), &settings);
    let last_place = pooler.database(&database).connect().await;
    let listener = quick(pooler.database(&database).url()).connect().await.unwrap();
    let _subscription = listener.subscribe::<u64>("a").await.unwrap();
    drop(last_place);
    let refused = |state: &State| matches!(state, State::Waiting { error, .. } if error.kind() == ErrorKind::Unsupported);
    listener.state().wait_for(refused).await.unwrap();
}
