//! What `notify_json()` keeps on a durable channel, and what it refuses.

use futures_util::StreamExt;
use futures_util::stream;
use notify_json_tests::{Database, Server, ServerOptions, texts};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{column, database, publish, refused, run, value};

#[tokio::test]
async fn every_event_is_kept_with_an_id_of_its_own() {
    let client = database().await.connect().await;
    let sql = "SELECT notify_json('d', '1') FROM generate_series(1, 3)";
    let ids: Vec<i64> = column(&client, sql).await;
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(value::<Option<i64>>(&client, "SELECT notify_json('live', '1')").await, None);
    run(&client, "BEGIN; SELECT notify_json('d', '2'); ROLLBACK").await;
    run(&client, "BEGIN; SELECT notify_json('d', '3'); SAVEPOINT s; SELECT notify_json('d', '4')")
        .await;
    run(&client, "ROLLBACK TO s; COMMIT").await;
    let kept: Vec<String> = column(&client, "SELECT payload::text FROM notify_json.event").await;
    assert_eq!(kept, ["1", "1", "1", "3"]);
    let sql = "SELECT bool_and(xid::text::bigint = xmin::text::bigint
                   AND published_at BETWEEN now() - interval '1 hour' AND clock_timestamp())
               FROM notify_json.event";
    assert!(value::<bool>(&client, sql).await);
}

#[tokio::test]
async fn the_text_stays_as_it_is_in_every_encoding() {
    let alphabets =
        [("UTF8", "aé日😀"), ("LATIN1", "aéÿß"), ("EUC_JP", "aé日本ｱ"), ("SQL_ASCII", "aé日😀")];
    for (encoding, alphabet) in alphabets {
        let database = Server::shared().database_with_encoding(encoding).await;
        let client = database.connect().await;
        run(&client, "SELECT notify_json.create_channel('kanäle')").await;
        let mut expected = vec![" {\"a\" : 1.10,\"a\":1e400}\n".to_owned()];
        for bytes in [20, 1_000, 2_100, 9_000, 100_000, 1 << 20] {
            expected.push(texts::string(alphabet, bytes, bytes));
        }
        for kind in ["text", "json"] {
            for text in &expected {
                let sql = format!("SELECT notify_json('kanäle', $1::text::{kind})");
                client.query_one(&sql, &[text]).await.unwrap();
            }
            let sql = "SELECT payload::text FROM notify_json.event ORDER BY id";
            let kept: Vec<String> = column(&client, sql).await;
            assert!(kept == expected, "{encoding} {kind}");
            let sql = "SELECT payload::text FROM notify_json.fetch('c', 'kanäle', 10)";
            assert!(column::<String>(&client, sql).await == expected, "{encoding} {kind}");
            let sql = "SELECT bool_and(notify_json.bytes(payload) = octet_length(payload::text))
                       FROM notify_json.event";
            assert!(value::<bool>(&client, sql).await);
            run(&client, "DELETE FROM notify_json.event; DELETE FROM notify_json.consumer").await;
        }
        let sql = r#"SELECT notify_json('kanäle', '{"b":2,"a":1.10}'::jsonb)"#;
        run(&client, sql).await;
        let kept: String = value(&client, "SELECT payload::text FROM notify_json.event").await;
        assert_eq!(kept, r#"{"a": 1.10, "b": 2}"#);
    }
}

#[tokio::test]
async fn a_limit_of_messages_is_none_of_events() {
    let client = database().await.connect().await;
    run(&client, "SET notify_json.max_message_bytes = 3").await;
    publish(&client, "[10, 20]").await;
    refused(&client, "SELECT notify_json('live', '[10, 20]')", "54000").await;
    run(&client, "SELECT notify_json('d', to_json(repeat('x', 40 * 1024 * 1024)))").await;
    let sql = "SELECT max(notify_json.bytes(payload)) FROM notify_json.event";
    assert_eq!(value::<i32>(&client, sql).await, 40 * 1024 * 1024 + 2);
}

#[tokio::test]
async fn long_texts_are_compressed() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json('d', to_json(repeat('long ', 10000)))").await;
    let sql = "SELECT pg_column_compression(payload) FROM notify_json.event";
    let method: &str = &value::<String>(&client, sql).await;
    assert!(["lz4", "pglz"].contains(&method));
    let lz4 = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings
               WHERE name = 'default_toast_compression'";
    assert_eq!(method == "lz4", value::<bool>(&client, lz4).await, "the best that there is");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let client = database().await.connect().await;
    for (sql, code) in [
        ("SELECT notify_json('d', NULL::text)", "22023"),
        ("SELECT notify_json('d', NULL::jsonb)", "22023"),
        ("SELECT notify_json('d', 'SECRET')", "22P02"),
        ("SELECT notify_json('d', '')", "22P02"),
        ("START TRANSACTION READ ONLY; SELECT notify_json('d', '1')", "25006"),
    ] {
        let error = refused(&client, sql, code).await;
        assert!(!format!("{error:?}").contains("SECRET"));
        run(&client, "ROLLBACK").await;
    }
    run(&client, "START TRANSACTION READ ONLY; SELECT notify_json('live', '1'); COMMIT").await;
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM notify_json.event").await, 0);
    let ascii = Server::shared().database_with_encoding("SQL_ASCII").await.connect().await;
    run(&ascii, "SELECT notify_json.create_channel('d')").await;
    refused(&ascii, r#"SELECT notify_json('d', E'"\xff"')"#, "22021").await;
}

#[tokio::test]
async fn a_standby_refuses() {
    let primary = Server::start(&ServerOptions::default());
    let database = primary.database().await;
    database.execute("SELECT notify_json.create_channel('d'), notify_json('d', '1')").await;
    let client = database.connect().await;
    let standby =
        Server::start(&ServerOptions { standby_of: Some(&primary), ..ServerOptions::default() });
    let name: String = value(&client, "SELECT current_database()::text").await;
    let (client, connection) = tokio_postgres::connect(&standby.url(&name), NoTls).await.unwrap();
    tokio::spawn(connection);
    refused(&client, "SELECT notify_json('d', '1')", "25006").await;
    refused(&client, "SELECT notify_json.start('d', 'latest')", "25006").await;
    let read = "SELECT notify_json.read('d', '3:3:;0;3:3:;0;0', 0, 1, 1, 1)";
    refused(&client, read, "25006").await;
}

#[tokio::test]
async fn a_parallel_operation_refuses() {
    let client = database().await.connect().await;
    let sql = "CREATE TABLE numbers AS SELECT n FROM generate_series(1, 1000) n;
               SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
               SET min_parallel_table_scan_size = 0;
               SELECT notify_json('d', to_json(n)) FROM numbers;
               CREATE FUNCTION mislabelled(n int) RETURNS bigint LANGUAGE plpgsql
                   PARALLEL RESTRICTED AS $$ BEGIN RETURN notify_json('d', to_json(n)); END $$";
    run(&client, sql).await;
    assert_eq!(value::<i64>(&client, "SELECT count(*) FROM notify_json.event").await, 1_000);
    refused(&client, "SELECT sum(mislabelled(n)) FROM numbers", "25000").await;
}

#[tokio::test]
async fn events_go_round_the_ring() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json.create_channel('short', retention => '80 milliseconds')")
        .await;
    run(&client, "SELECT notify_json.alter_channel('d', retention => '800 milliseconds')").await;
    let sql = "SELECT count(DISTINCT slot) = 10 FROM notify_json.event";
    while !value::<bool>(&client, sql).await {
        publish(&client, "1").await;
    }
    let wrong = "SELECT count(*) FROM notify_json.event
                 WHERE slot <> floor(extract(epoch FROM published_at) / 0.1) % 10";
    assert_eq!(value::<i64>(&client, wrong).await, 0);
}

/// A session that listens on channel `d`, and its notifications.
async fn listener(database: &Database) -> (Client, UnboundedReceiver<String>) {
    let (client, mut connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message {
                let _ = sender.send(notification.payload().to_owned());
            }
        }
    });
    run(&client, "LISTEN d").await;
    (client, receiver)
}

#[tokio::test]
async fn the_doorbell_rings_while_somebody_attends() {
    let database = database().await;
    let (listener, mut heard) = listener(&database).await;
    let (consumer, publisher) = (database.connect().await, database.connect().await);
    // Each `NOTIFY` says that everything before it was heard.
    let mut heard_until = async |mark: &str| {
        run(&publisher, &format!("NOTIFY d, '{mark}'")).await;
        let mut before = Vec::new();
        loop {
            let payload = heard.recv().await.unwrap();
            if payload == mark {
                return before;
            }
            before.push(payload);
        }
    };
    publish(&publisher, "1").await;
    assert!(heard_until("nobody attends").await.is_empty());

    run(&consumer, "SELECT notify_json.attend('d'), notify_json.attend('d')").await;
    run(&consumer, "BEGIN; SELECT notify_json.attend('d'); ROLLBACK").await;
    publish(&publisher, "2").await;
    publish(&consumer, "3").await;
    run(&publisher, "SELECT notify_json('d', '4') FROM generate_series(1, 10)").await;
    assert_eq!(heard_until("attended").await, ["~1 event"; 3]);
    run(&publisher, "SELECT notify_json.create_channel('other'), notify_json('other', '1')").await;
    assert!(heard_until("another channel").await.is_empty());

    run(&publisher, "BEGIN; SELECT notify_json('d', '4'); ROLLBACK").await;
    run(&publisher, "BEGIN; SELECT notify_json('d', '4'); PREPARE TRANSACTION 'silent'").await;
    run(&publisher, "COMMIT PREPARED 'silent'").await;
    assert!(heard_until("rolled back and prepared").await.is_empty());

    run(&consumer, "SELECT notify_json.leave('d'), notify_json.leave('d')").await;
    publish(&publisher, "5").await;
    assert!(heard_until("left").await.is_empty());

    let open = database.connect().await;
    run(&open, "BEGIN; SELECT notify_json('d', '6')").await;
    run(&consumer, "SELECT notify_json.attend('d')").await;
    run(&open, "COMMIT").await;
    assert_eq!(heard_until("attended before the commit").await, ["~1 event"]);
    drop(listener);
}
