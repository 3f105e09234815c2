//! What cannot work says why: SQLSTATE, numbers, next step; and the session goes on.

use notify_json_client::Message;
use notify_json_tests::{Database, Server, ServerOptions, next_message};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

async fn refused(client: &Client, sql: &str) -> DbError {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone();
    client.batch_execute("SELECT 1").await.expect("the session goes on");
    error
}

/// SQLSTATE, message and DETAIL of a statement that must fail, with a HINT.
async fn check(client: &Client, sql: &str, code: &str, message: &str, detail: &str) {
    let error = refused(client, sql).await;
    assert_eq!(error.code().code(), code, "{sql}");
    assert_eq!(error.message(), message, "{sql}");
    assert_eq!(error.detail(), Some(detail), "{sql}");
    assert!(error.hint().is_some_and(|hint| hint.ends_with('.')), "{sql}: {error:?}");
}

#[tokio::test]
async fn bad_channels_and_null_are_refused() {
    let client = Server::shared().database().await.connect().await;
    let null = "channel must not be NULL";
    let detail = "The channel is NULL, so there is nothing that could be sent.";
    check(&client, "SELECT notify_json(NULL, '{}')", "22023", null, detail).await;
    for kind in ["text", "json", "jsonb"] {
        let sql = format!("SELECT notify_json('c', NULL::{kind})");
        let detail = "The payload is NULL, so there is nothing that could be sent.";
        check(&client, &sql, "22023", "payload must not be NULL", detail).await;
    }
    let (empty, detail) =
        ("channel name must not be empty", "The name has 0 bytes; it must have 1 to 63.");
    check(&client, "SELECT notify_json('', '{}')", "22023", empty, detail).await;
    let (long, detail) =
        ("channel name is too long", "The name has 64 bytes; it must have 1 to 63.");
    check(&client, "SELECT notify_json(repeat('x', 64), '{}')", "22023", long, detail).await;
    check(&client, "SELECT notify_json(repeat('é', 32), '{}')", "22023", long, detail).await;
    client.batch_execute("SELECT notify_json(repeat('x', 63), '{}')").await.unwrap();
}

#[tokio::test]
async fn what_is_not_json_is_refused_without_showing_it() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    let cases = [
        ("", 0, 1, 0, "EOF while parsing a value"),
        (" ", 1, 1, 1, "EOF while parsing a value"),
        ("SECRET", 6, 1, 1, "expected value"),
        (r#"{"SECRET": }"#, 12, 1, 12, "expected value"),
        ("{\"a\": 1,\n \"SECRET\"}", 19, 2, 10, "expected `:`"),
        ("[1] SECRET", 10, 1, 5, "trailing characters"),
        ("'SECRET'", 8, 1, 1, "expected value"),
        ("01", 2, 1, 2, "invalid number"),
        (
            "\"SECRET\n\"",
            9,
            1,
            7,
            "control character (\\u0000-\\u001F) found while parsing a string",
        ),
        ("\u{feff}{}", 5, 1, 1, "expected value"),
    ];
    for (text, bytes, line, column, reason) in cases {
        let sql = format!("SELECT notify_json('c', $json${text}$json$)");
        let detail =
            format!("In the text of {bytes} bytes at line {line}, byte {column}: {reason}.");
        check(&client, &sql, "22P02", "payload is not valid JSON", &detail).await;
    }
    let deep = "SELECT notify_json('c', repeat('[', 100000))";
    let detail = "In the text of 100000 bytes at line 1, byte 100000: EOF while parsing a list.";
    check(&client, deep, "22P02", "payload is not valid JSON", detail).await;

    let sql = "SELECT notify_json('c', $1::text)";
    client.query(sql, &[&r#"{"HIDDEN": "#]).await.unwrap_err();
    client.query(sql, &[&format!("[\"HIDDEN\", {}", "1,".repeat(10_000))]).await.unwrap_err();
    assert!(!Server::shared().log().contains("HIDDEN"), "payloads stay out of the server's log");
}

#[tokio::test]
async fn the_limit_is_exact_and_settable() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    let bytes = (16 << 20) + 1;
    let sql = "SELECT notify_json('c', to_json(repeat('x', 16 * 1024 * 1024 - 1)))";
    let detail =
        format!("The JSON text has {bytes} bytes; notify_json.max_message_bytes allows 16777216.");
    check(&client, sql, "54000", "payload is too large", &detail).await;
    client.batch_execute(&sql.replace("- 1", "- 2")).await.unwrap();
    client.batch_execute("SET notify_json.max_message_bytes = '17MB'").await.unwrap();
    client.batch_execute(sql).await.unwrap();
    client.batch_execute("SET notify_json.max_message_bytes = 3").await.unwrap();
    client.batch_execute("SELECT notify_json('c', '[1]')").await.unwrap();
    let detail = "The JSON text has 4 bytes; notify_json.max_message_bytes allows 3.";
    let sql = "SELECT notify_json('c', '[10]')";
    check(&client, sql, "54000", "payload is too large", detail).await;
}

#[tokio::test]
async fn settings_check_their_values() {
    let client = Server::shared().database().await.connect().await;
    client.batch_execute("SELECT notify_json('c', '1')").await.unwrap();
    for setting in [
        "max_message_bytes = 0",
        "max_message_bytes = '2GB'",
        "compress_above_bytes = -2",
        "compress_above_bytes = 'much'",
    ] {
        let error = refused(&client, &format!("SET notify_json.{setting}")).await;
        assert_eq!(error.code().code(), "22023", "{setting}");
    }
    let unknown = refused(&client, "SET notify_json.max_mesage_bytes = 1").await;
    assert_eq!(unknown.code().code(), "42602", "a mistyped setting is not accepted silently");
    let row = client.query_one("SHOW notify_json.max_message_bytes", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "16MB");
}

#[tokio::test]
async fn a_prepared_transaction_cannot_notify() {
    let client = Server::shared().database().await.connect().await;
    client.batch_execute("BEGIN; SELECT notify_json('c', '1')").await.unwrap();
    let error = refused(&client, "PREPARE TRANSACTION 'notified'").await;
    assert_eq!(error.code().code(), "0A000");
}

#[tokio::test]
async fn a_read_only_transaction_can_notify() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<u32>("c").await.unwrap();
    let client = database.connect().await;
    client.batch_execute("BEGIN READ ONLY; SELECT notify_json('c', '7'); COMMIT").await.unwrap();
    assert_eq!(next_message(&mut subscription).await, 7);
}

#[tokio::test]
async fn a_standby_cannot_notify() {
    let primary = Server::start(&ServerOptions::default());
    let database = primary.database().await;
    let name = database.url().rsplit('/').next().unwrap();
    let standby =
        Server::start(&ServerOptions { standby_of: Some(&primary), ..ServerOptions::default() });
    let (client, connection) =
        tokio_postgres::connect(&standby.url(name), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let detail = "This server is a standby: notifications travel with commits, and it has none \
                  of its own.";
    let sql = "SELECT notify_json('c', '1')";
    check(&client, sql, "25006", "cannot notify during recovery", detail).await;
}

#[tokio::test]
async fn parallel_queries_send_from_the_leader() {
    let database = Server::shared().database().await;
    let listener = database.listener().await;
    let mut subscription = listener.subscribe::<Message>("c").await.unwrap();
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE numbers AS SELECT n FROM generate_series(1, 1000) n;
             SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
             SET min_parallel_table_scan_size = 0; SET force_parallel_mode = on;
             SET parallel_leader_participation = off;
             SELECT notify_json('c', to_json(n)) FROM numbers;",
        )
        .await
        .unwrap();
    notify_json_tests::drain(&mut subscription, 1_000).await;

    client
        .batch_execute(
            "CREATE FUNCTION mislabelled(n int) RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE
                 AS $$ BEGIN RETURN notify_json('c', to_json(n)); END $$",
        )
        .await
        .unwrap();
    let error = refused(&client, "SELECT count(mislabelled(n)) FROM numbers").await;
    assert_eq!(error.code().code(), "25000");
    assert_eq!(error.message(), "cannot notify from a parallel worker");
    assert!(error.detail().is_some() && error.hint().is_some());
}

#[tokio::test]
async fn the_extension_installs_where_told_and_leaves_nothing_behind() {
    let database: Database = Server::shared().database().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "DROP EXTENSION notify_json;
             CREATE SCHEMA messaging;
             CREATE EXTENSION notify_json SCHEMA messaging;
             SELECT messaging.notify_json('c', '1');",
        )
        .await
        .unwrap();
    let error = refused(&client, "SELECT notify_json('c', '1')").await;
    assert_eq!(error.code().code(), "42883");
    client.batch_execute("DROP EXTENSION notify_json").await.unwrap();
    let left = client
        .query_one("SELECT count(*) FROM pg_proc WHERE proname = 'notify_json'", &[])
        .await
        .unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}
