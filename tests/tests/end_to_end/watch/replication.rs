//! Changes that logical replication applies.

use notify_json_tests::{Database, Server, ServerOptions, next_message};

#[tokio::test]
async fn a_subscriber_of_a_publication_sends_what_it_applies() {
    let settings = [("wal_level", "logical")];
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let (publisher, subscriber) = (server.database().await, server.database().await);
    let table = "CREATE TABLE t (id integer PRIMARY KEY, a text, big text);
        ALTER TABLE t ALTER big SET STORAGE EXTERNAL;";
    // The slot comes first: to create it, a subscription in the same server would wait for itself.
    publisher.execute(&format!("{table} CREATE PUBLICATION p FOR TABLE t")).await;
    publisher.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").await;
    subscriber
        .execute(&format!(
            "{table} SELECT notify_json.watch('t', 'row', always => true);
             SELECT notify_json.watch('t', 'statement', always => true, per => 'statement');
             SELECT notify_json.watch('t', 'not')"
        ))
        .await;
    let listener = subscriber.listener().await;
    let channels = ["row", "statement", "not"];
    let mut events = listener.subscribe_many::<serde_json::Value>(channels).await.unwrap();
    subscribe(&publisher, &subscriber).await;

    publisher.execute("INSERT INTO t VALUES (1, 'x', repeat('big', 10000))").await;
    // Of the long value, which is as it was, the publisher sends nothing.
    publisher.execute("UPDATE t SET a = 'y'").await;
    publisher.execute("DELETE FROM t").await;
    let big = "big".repeat(10_000);
    let row = |a: &str| serde_json::json!({"id": 1, "a": a, "big": big});
    let inserted = next_message(&mut events).await;
    assert_eq!((&inserted["op"], &inserted["new"]), (&"insert".into(), &row("x")));
    let updated = next_message(&mut events).await;
    assert_eq!((&updated["changed"], &updated["new"]), (&serde_json::json!(["a"]), &row("y")));
    // Were there an event of a statement, it would have come before.
    let deleted = next_message(&mut events).await;
    assert_eq!((&deleted["op"], &deleted["old"]), (&"delete".into(), &row("y")));
    subscriber.execute("DROP SUBSCRIPTION s").await;
}

/// Subscribes, and waits until tables are no more copied but followed.
async fn subscribe(publisher: &Database, subscriber: &Database) {
    subscriber
        .execute(&format!(
            "CREATE SUBSCRIPTION s CONNECTION '{}' PUBLICATION p
                WITH (create_slot = false, slot_name = 's', copy_data = false)",
            publisher.url()
        ))
        .await;
    let client = publisher.connect().await;
    let is_followed = "SELECT active FROM pg_replication_slots WHERE slot_name = 's'";
    while !client.query_one(is_followed, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::task::yield_now().await;
    }
}
