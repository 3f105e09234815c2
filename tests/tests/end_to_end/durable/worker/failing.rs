//! A worker that dies or fails between a commit and its doorbell: another one, or another try,
//! rings.

use nix::sys::signal::Signal;

use super::*;
use crate::durable::until_blocked;

/// Publishes, and does something while the commit can no longer go back and is not yet seen.
/// Returns who rang for it, and who would have.
async fn rung_after(server: &Server, database: &Database, between: &str) -> (i32, i32) {
    let before = until_served(database).await;
    let committing = Committing::start(database, "SELECT notify_json('d', '1')").await;
    let client = database.connect().await;
    match between {
        "end" => {
            serve(server, &[]).await;
            until_not_served(database).await;
        }
        "terminate" => {
            run(&client, &format!("SELECT pg_terminate_backend({before})")).await;
            until_some(&client, &format!("SELECT pid <> {before} FROM ({OWN}) AS w")).await;
        }
        _ => {}
    }
    let mut ear = Ear::on(database, &["d"]).await;
    committing.finish(&client).await;
    (ear.hear_d().await, before)
}

#[tokio::test]
async fn a_worker_that_is_ended_during_the_commit_is_replaced_for_a_last_round() {
    let server = server(&STANDBY);
    let database = served(&server).await;
    let (rang, before) = rung_after(&server, &database, "nothing").await;
    assert_eq!(rang, before);
    let (rang, before) = rung_after(&server, &database, "end").await;
    assert_ne!(rang, before);
    until_not_served(&database).await;
    // Nobody serves again, so transactions ring for themselves.
    let mut ear = Ear::on(&database, &["d"]).await;
    let client = database.connect().await;
    publish(&client, "2").await;
    assert_eq!(ear.hear_d().await, crate::durable::pid(&client).await);
}

#[tokio::test]
async fn a_worker_that_is_terminated_during_the_commit_is_replaced() {
    let server = server(&STANDBY);
    let database = served(&server).await;
    let (rang, before) = rung_after(&server, &database, "terminate").await;
    assert_ne!(rang, before);
    assert_eq!(rang, until_served(&database).await);
}

#[tokio::test]
async fn a_worker_that_is_terminated_before_it_rings_is_replaced() {
    let server = server(&STANDBY);
    let database = served(&server).await;
    let before = until_served(&database).await;
    let mut ear = Ear::on(&database, &["d"]).await;
    let client = database.connect().await;
    let holder = Committing::notify(&database).await;
    publish(&client, "1").await;
    until_blocked(&client, before).await;
    run(&client, &format!("SELECT pg_terminate_backend({before})")).await;
    until_some(&client, &format!("SELECT pid <> {before} FROM ({OWN}) AS w")).await;
    holder.finish(&client).await;
    assert_eq!(ear.hear_d().await, until_served(&database).await);
}

#[tokio::test]
async fn a_round_that_fails_is_tried_again() {
    let server = server(&STANDBY);
    let database = database(&server).await;
    let name = name(&database).await;
    database.execute(&format!("ALTER DATABASE {name} SET lock_timeout = 1")).await;
    serve(&server, &[&name]).await;
    let worker = until_served(&database).await;
    let mut ear = Ear::on(&database, &["d"]).await;
    let client = database.connect().await;
    let holder = Committing::notify(&database).await;
    publish(&client, "1").await;
    until_some(&client, "SELECT failures > 0 AND state = 'serving' FROM notify_json.worker").await;
    server.wait_for_log("HINT:  The next try is in 1s.");
    // It still serves, so that transactions do not fail where it does.
    publish(&client, "2").await;
    holder.finish(&client).await;
    assert_eq!(ear.hear_d().await, worker);
    let log = server.log();
    let warning = "WARNING:  doorbells were not rung: canceling statement due to lock timeout";
    assert!(log.contains(warning), "{log}");
}

#[tokio::test]
async fn a_crash_of_the_server_brings_all_back() {
    let server = server(&[]);
    let database = served(&server).await;
    let before = until_served(&database).await;
    let client = database.connect().await;
    // The server starts all its processes again when one of them is killed.
    let victim = nix::unistd::Pid::from_raw(crate::durable::pid(&client).await);
    nix::sys::signal::kill(victim, Signal::SIGKILL).unwrap();
    server.wait_for_log("all server processes terminated; reinitializing");
    let client = database.connect_when_up().await;
    let after = until_served(&database).await;
    assert_ne!(after, before);
    let mut ear = Ear::on(&database, &["d"]).await;
    publish(&client, "1").await;
    assert_eq!(ear.hear_d().await, after);

    server.crash_and_restart();
    let client = database.connect_when_up().await;
    let worker = until_served(&database).await;
    let mut ear = Ear::on(&database, &["d"]).await;
    publish(&client, "1").await;
    assert_eq!(ear.hear_d().await, worker);
}

/// What a server logs when something of it has died.
const DEATHS: [&str; 4] = ["PANIC", "terminated by signal", "terminated by exception", "ERROR"];

/// Stops a server whose worker waits in the middle of a round for a lock that stays.
#[tokio::test]
async fn a_busy_worker_does_not_hold_up_a_shutdown() {
    for mode in [Signal::SIGINT, Signal::SIGQUIT] {
        let server = server(&STANDBY);
        let database = served(&server).await;
        let worker = until_served(&database).await;
        let _ear = Ear::on(&database, &["d"]).await;
        let client = database.connect().await;
        let holder = Committing::notify(&database).await;
        publish(&client, "1").await;
        until_blocked(&client, worker).await;
        holder.done.abort();
        server.stop(mode);
        let log = server.log();
        assert!(!DEATHS.iter().any(|death| log.contains(death)), "{mode}: {log}");
    }
}

/// Stops a server whose worker rings without a pause.
#[tokio::test]
async fn a_ringing_worker_does_not_hold_up_a_shutdown() {
    let server = server(&[("notify_json.doorbell_interval", "0")]);
    let database = served(&server).await;
    let ear = Ear::on(&database, &["d"]).await;
    let mut publishers = Vec::new();
    for _ in 0..4 {
        let client = database.connect().await;
        publishers.push(tokio::spawn(async move {
            while client.batch_execute("SELECT notify_json('d', '1')").await.is_ok() {}
        }));
    }
    until(&ear.client, "SELECT rounds > 100 FROM notify_json.worker").await;
    server.stop(Signal::SIGINT);
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let log = server.log();
    assert!(!DEATHS.iter().any(|death| log.contains(death)), "{log}");
}

/// A smart shutdown waits for clients, and not for a worker that sleeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_does_not_hold_up_a_shutdown() {
    let server = server(&[]);
    let database = served(&server).await;
    until_served(&database).await;
    server.stop(Signal::SIGTERM);
    let log = server.log();
    assert!(!DEATHS.iter().any(|death| log.contains(death)), "{log}");
    assert!(!log.contains("FATAL"), "{log}");
}
