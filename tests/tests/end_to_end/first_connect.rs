//! What happens before there is a first connection.

use notify_json_client::{ErrorKind, Listener};
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
