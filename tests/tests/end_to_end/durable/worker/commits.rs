//! Who rings for a commit: the worker, or where it cannot, the transaction itself.

use std::collections::HashSet;
use std::time::Duration;

use notify_json_client::{Event, ListenerConfig};
use notify_json_tests::Server;

use super::*;
use crate::durable::{pid, until_blocked};

#[tokio::test]
async fn the_worker_rings_for_the_transactions() {
    let server = server(&[]);
    let database = served(&server).await;
    let worker = until_served(&database).await;
    let mut ear = Ear::on(&database, &["d", "e"]).await;
    let client = database.connect().await;
    run(&client, "SELECT notify_json.create_channel('e')").await;
    publish(&client, "1").await;
    assert_eq!(ear.hear_d().await, worker);
    publish(&ear.client, "2").await;
    assert_eq!(ear.hear_d().await, worker, "for its own session too");
    for nothing in [
        "BEGIN; SELECT notify_json('d', '3'); ROLLBACK",
        "BEGIN; SELECT notify_json('d', '3'); PREPARE TRANSACTION 'p'",
        "COMMIT PREPARED 'p'",
        "SELECT count(*) FROM notify_json.event",
    ] {
        run(&client, nothing).await;
    }
    run(&client, "SELECT notify_json('e', '4')").await;
    assert_eq!(ear.hear().await, ("e".to_owned(), worker), "and for nothing else");
}

#[tokio::test]
async fn without_a_worker_the_transaction_rings() {
    let server = server(&[]);
    let (served, other) = (served(&server).await, database(&server).await);
    let worker = until_served(&served).await;
    for (database, is_served) in [(&served, true), (&other, false)] {
        let mut ear = Ear::on(database, &["d"]).await;
        let client = database.connect().await;
        publish(&client, "1").await;
        let expected = if is_served { worker } else { pid(&client).await };
        assert_eq!(ear.hear_d().await, expected);
    }
}

#[tokio::test]
async fn without_the_library_at_the_start_there_is_no_worker() {
    let client = crate::durable::database().await.connect().await;
    let workers = "SELECT count(*) FROM notify_json.worker";
    assert_eq!(value::<i64>(&client, workers).await, 0);
    // The setting is there all the same.
    assert_eq!(value::<String>(&client, "SHOW notify_json.databases").await, "");
}

#[tokio::test]
async fn every_database_has_a_worker_of_its_own() {
    let server = server(&[]);
    let (one, other) = (database(&server).await, database(&server).await);
    serve(&server, &[&name(&one).await, &name(&other).await]).await;
    let workers = [until_served(&one).await, until_served(&other).await];
    assert_ne!(workers[0], workers[1]);
    let mut ears = [Ear::on(&one, &["d"]).await, Ear::on(&other, &["d"]).await];
    for (database, place) in [(&one, 0), (&other, 1), (&one, 0)] {
        publish(&database.connect().await, "1").await;
        assert_eq!(ears[place].hear_d().await, workers[place]);
    }
    assert!(ears.iter_mut().all(|ear| ear.heard.try_recv().is_err()));
}

#[tokio::test]
async fn commits_do_not_wait_for_the_lock_of_notify_and_share_a_doorbell() {
    let server = server(&STANDBY);
    let database = served(&server).await;
    let worker = until_served(&database).await;
    let mut ear = Ear::on(&database, &["d"]).await;
    let client = database.connect().await;
    let holder = Committing::notify(&database).await;
    publish(&client, "1").await;
    until_blocked(&client, worker).await;
    for _ in 0..100 {
        publish(&client, "2").await;
    }
    assert!(ear.heard.try_recv().is_err());
    holder.finish(&client).await;
    let doorbells = [ear.hear_d().await, ear.hear_d().await];
    assert_eq!(doorbells, [worker; 2], "one for the first, one for all others");
    run(&client, "SELECT notify_json.create_channel('last'), notify_json.attend('last')").await;
    run(&ear.client, "LISTEN last").await;
    run(&client, "SELECT notify_json('last', '3')").await;
    assert_eq!(ear.hear().await, ("last".to_owned(), worker));
}

#[tokio::test]
async fn a_channel_made_by_the_transaction_rings() {
    let server = server(&[]);
    let database = served(&server).await;
    let worker = until_served(&database).await;
    let mut ear = Ear::on(&database, &["new"]).await;
    let client = database.connect().await;
    for change in [
        "SELECT notify_json.create_channel('new')",
        "SELECT notify_json.drop_channel('new'), notify_json.create_channel('new')",
        "UPDATE notify_json.channel SET durable = durable",
    ] {
        run(&client, &format!("BEGIN; {change}; SELECT notify_json('new', '1'); COMMIT")).await;
        assert_eq!(ear.hear().await, ("new".to_owned(), worker), "{change}");
    }
}

#[tokio::test]
async fn a_thousand_channels() {
    let server = server(&[]);
    let database = served(&server).await;
    let worker = until_served(&database).await;
    let client = database.connect().await;
    run(&client, "SELECT notify_json.create_channel('c' || n) FROM generate_series(1, 1000) n")
        .await;
    let mut ear = Ear::on(&database, &["d"]).await;
    let all = "SELECT notify_json('c' || n, '1') FROM generate_series(1, 1000) n";
    run(&client, all).await;
    publish(&client, "1").await;
    assert_eq!(ear.hear_d().await, worker, "of those, only the one that is attended");
    let listen = "DO $$ BEGIN
            FOR n IN 1..1000 LOOP EXECUTE format('LISTEN c%s', n); END LOOP; END $$;
        SELECT notify_json.attend('c' || n) FROM generate_series(1, 1000) n";
    run(&ear.client, listen).await;
    run(&client, all).await;
    let mut heard = HashSet::new();
    for _ in 0..1_000 {
        let (channel, sender) = ear.hear().await;
        assert_eq!(sender, worker);
        assert!(heard.insert(channel));
    }
    assert!((1..1_001).all(|n| heard.contains(&format!("c{n}"))));
    publish(&client, "1").await;
    while ear.hear().await.0 != "d" {}
}

/// All that many sessions publish arrives, though the consumer never looks by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_needs_no_other_sign() {
    let server = server(&[("notify_json.doorbell_interval", "0")]);
    let database = served(&server).await;
    let config: ListenerConfig = database.url().parse().unwrap();
    let listener = config.look_every(Duration::from_secs(3_600)).connect().await.unwrap();
    let mut events = listener.consume::<u32>("d", "c").await.unwrap();
    let mut publishers = Vec::new();
    for publisher in 0..8 {
        let client = database.connect().await;
        publishers.push(tokio::spawn(async move {
            for number in 0..200 {
                publish(&client, &(publisher * 1_000 + number).to_string()).await;
            }
        }));
    }
    let mut received = HashSet::new();
    while received.len() < 1_600 {
        match events.recv().await {
            Some(Ok(Event::Message(event))) => assert!(received.insert(event.payload)),
            other => panic!("{other:?}"),
        }
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    // One at a time, so that each needs a doorbell of its own.
    let client = database.connect().await;
    for number in 0..100 {
        publish(&client, &(10_000 + number).to_string()).await;
        match events.recv().await {
            Some(Ok(Event::Message(event))) => assert_eq!(event.payload, 10_000 + number),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_standby_has_a_worker_once_it_is_promoted() {
    let primary = server(&[]);
    let database = served(&primary).await;
    let name = name(&database).await;
    let settings = [PRELOAD];
    let standby = Server::start(&ServerOptions { settings: &settings, standby_of: Some(&primary) });
    let database = Database::at(standby.url(&name));
    let client = database.connect().await;
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM notify_json.worker").await, 0);
    run(&client, "SELECT pg_promote()").await;
    let worker = until_served(&database).await;
    let mut ear = Ear::on(&database, &["d"]).await;
    publish(&client, "1").await;
    assert_eq!(ear.hear_d().await, worker);
}
