//! What happens before there is a first connection.

use std::time::Duration;

use notify_json_client::{ErrorKind, Listener, ListenerConfig};
use notify_json_tests::{Fault, Proxy, Server, ServerOptions, next_message};

use crate::case::quick;

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
async fn a_standby_is_refused() {
    let primary = Server::start(&ServerOptions::default());
    let standby =
        Server::start(&ServerOptions { standby_of: Some(&primary), ..ServerOptions::default() });
    let error = Listener::connect(&standby.url("postgres")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("target_session_attrs=read-write"), "{error}");
}

#[tokio::test]
async fn a_server_that_falls_silent_fails_in_time() {
    let server = Server::shared();
    let database = server.database().await;
    let proxy = Proxy::start(server.port()).await;
    for sent in ["pg_listening_channels", "LISTEN \"notify_json probe", "UNLISTEN"] {
        proxy.set(Fault::Swallow(sent));
        let config: ListenerConfig = proxy.url(&database).parse().unwrap();
        let (hour, second) = (Duration::from_secs(3_600), Duration::from_secs(1));
        let error = config.heartbeat(hour, second).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{sent:?}");
        assert!(error.to_string().contains("no answer in 1s"), "{error}");
    }
}

#[tokio::test]
async fn times_without_sense_are_made_sensible() {
    let database = Server::shared().database().await;
    for (interval, timeout) in
        [(Duration::ZERO, Duration::MAX), (Duration::MAX, Duration::from_secs(5))]
    {
        let config: ListenerConfig = database.url().parse().unwrap();
        let config = config.heartbeat(interval, timeout).reconnect_delay(Duration::MAX, timeout);
        let listener = config.connect().await.unwrap();
        let mut subscription = listener.subscribe::<u32>("a").await.unwrap();
        database.execute("SELECT notify_json('a', '1')").await;
        assert_eq!(next_message(&mut subscription).await, 1);
    }
}
