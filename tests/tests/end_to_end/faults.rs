//! After every fault each subscription goes on, has got exactly one gap, and gets every message
//! sent from then on.

use std::time::Duration;

use nix::sys::signal::Signal;
use notify_json_client::{Event, Gap, Listener, Message, State, publish, publish_json};
use notify_json_tests::{Fault, Proxy, Server, ServerOptions, next_message, texts};

use crate::case::{Case, milliseconds, quick};

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
async fn who_does_not_care_about_gaps_says_messages() {
    use futures_util::StreamExt;
    let mut case = Case::on(Server::shared()).await;
    let mut messages = case.listener.subscribe::<u32>("c").await.unwrap().messages();
    case.proxy.close();
    case.one_gap_and_on().await;
    publish(&case.sender, "c", &1).await.unwrap();
    assert_eq!(messages.next().await.unwrap().unwrap(), 1);
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
