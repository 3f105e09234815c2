//! A consumer whose server is replaced by its standby.

use std::collections::BTreeSet;

use notify_json_client::{Event, ListenerConfig, publish};
use notify_json_tests::{Database, Server, ServerOptions};
use tokio_postgres::Client;

/// Waits until the standby has everything that the primary has committed.
async fn caught_up(primary: &Client, standby: &Client) {
    let row = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap();
    let behind = format!("SELECT pg_last_wal_replay_lsn() < '{}'", row.get::<_, String>(0));
    while standby.query_one(&behind, &[]).await.unwrap().get(0) {}
}

#[tokio::test]
async fn a_consumer_goes_on_at_the_promoted_standby() {
    let primary = Server::start(&ServerOptions::default());
    let database = primary.database().await;
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    let standby =
        Server::start(&ServerOptions { standby_of: Some(&primary), ..ServerOptions::default() });
    let standby_database = Database::at(standby.url(&name));
    let (at_primary, at_standby) = (database.connect().await, standby_database.connect().await);
    at_primary.batch_execute("SELECT notify_json.create_channel('c')").await.unwrap();

    let both = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{name}\
         ?target_session_attrs=read-write&sslmode=disable",
        primary.port(),
        standby.port()
    );
    let listener = both.parse::<ListenerConfig>().unwrap().connect().await.unwrap();
    let mut consumer = listener.consume::<i64>("c", "worker").await.unwrap();
    let mut handled = BTreeSet::new();
    let mut received = 0;
    let mut uncommitted = database.connect().await;
    let uncommitted = uncommitted.transaction().await.unwrap();
    publish(&uncommitted, "c", &-1).await.unwrap();
    for number in 0..100 {
        publish(&at_primary, "c", &number).await.unwrap();
    }
    while received < 60 {
        let Some(Ok(Event::Message(event))) = consumer.recv().await else { panic!("no event") };
        received += 1;
        if event.payload == 40 {
            event.ack(&at_primary).await.unwrap();
            handled.extend(0..=40);
        }
    }
    caught_up(&at_primary, &at_standby).await;

    drop(primary);
    at_standby.query_one("SELECT pg_promote()", &[]).await.unwrap();
    for number in 100..200 {
        publish(&at_standby, "c", &number).await.unwrap();
    }
    while handled.len() < 200 {
        match consumer.recv().await {
            Some(Ok(Event::Message(event))) => {
                assert!(event.payload > 40, "acknowledged before");
                match event.ack(&at_standby).await {
                    Ok(()) => drop(handled.insert(event.payload)),
                    // Taken from the old server: it comes again from the new one.
                    Err(error) => assert_eq!(error.code().unwrap().code(), "55006"),
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(handled.into_iter().eq(0..200));
}
