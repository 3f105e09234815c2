//! What cannot be done where and how it is asked for says so, and changes nothing.

use notify_json_tests::{Server, ServerOptions};
use tokio_postgres::{Client, NoTls};

use super::{database, refused, run, value};

const EARLIEST: &str = "3:3:;0;3:3:;0;0";

/// Calls that write, and what they do.
const WRITES: [(&str, &str); 13] = [
    ("create_channel('x')", "create a channel"),
    ("alter_channel('d', durable => true)", "alter a channel"),
    ("drop_channel('d')", "drop a channel"),
    ("fetch('c', 'd')", "fetch events"),
    ("ack('c', 'd', 1)", "acknowledge events"),
    ("seek('c', 'd', 'latest')", "move a consumer"),
    ("seek('c', 'd', now())", "move a consumer"),
    ("drop_consumer('c', 'd')", "drop a consumer"),
    ("claim('c', 'd', '1 minute')", "claim a consumer"),
    ("renew('c', 'd', 1, '1 minute')", "hold a consumer"),
    ("release('c', 'd', 1)", "release a consumer"),
    ("ack_position('c', 'd', 1, '3:3:;0;3:3:;0;0', 0, 0)", "acknowledge events"),
    ("prune()", "remove old events"),
];

/// Calls that read only.
const READS: [&str; 6] = [
    "start('d', 'earliest')",
    "start('d', 'latest')",
    "read('d', '3:3:;0;3:3:;0;0', 0, 1, 1, 1)",
    "next_window('3:3:;0;3:3:;0;0')",
    "start_after('d', 0)",
    "missed('d', '3:3:;0;3:3:;0;0', 0, NULL)",
];

#[tokio::test]
async fn a_read_only_transaction_reads_and_does_not_write() {
    let client = database().await.connect().await;
    run(&client, "SET default_transaction_read_only = on").await;
    for (call, what) in WRITES {
        let error = refused(&client, &format!("SELECT notify_json.{call}"), "25006").await;
        assert_eq!(error.message(), format!("cannot {what} in a read-only transaction"));
        assert_eq!(error.hint(), Some("Begin the transaction READ WRITE."));
    }
    for call in READS {
        run(&client, &format!("SELECT notify_json.{call}")).await;
    }
    let (call, _) = WRITES[3];
    run(&client, &format!("BEGIN READ WRITE; SELECT notify_json.{call}; COMMIT")).await;
}

#[tokio::test]
async fn a_standby_neither_writes_nor_reads() {
    let primary = Server::start(&ServerOptions::default());
    let database = primary.database().await;
    database.execute("SELECT notify_json.create_channel('d')").await;
    let name = database.url().rsplit('/').next().unwrap();
    let standby =
        Server::start(&ServerOptions { standby_of: Some(&primary), ..ServerOptions::default() });
    let (client, connection) = tokio_postgres::connect(&standby.url(name), NoTls).await.unwrap();
    tokio::spawn(connection);
    let calls = WRITES.into_iter().chain(READS.map(|call| (call, "read events")));
    for (call, what) in calls {
        let error = refused(&client, &format!("SELECT notify_json.{call}"), "25006").await;
        assert_eq!(error.message(), format!("cannot {what} during recovery"));
        assert_eq!(error.hint(), Some("Connect to the primary."));
    }
    for view in ["channels", "consumers"] {
        run(&client, &format!("TABLE notify_json.{view}")).await;
    }
}

/// Where a consumer is.
async fn position(client: &Client) -> String {
    value(client, "SELECT consumer::text FROM notify_json.consumer").await
}

#[tokio::test]
async fn a_malformed_window_is_refused() {
    let client = database().await.connect().await;
    run(&client, "SELECT notify_json.claim('c', 'd', '1 hour')").await;
    let before = position(&client).await;
    for window in [
        "",
        "nonsense",
        "3:3:;0;3:3:;0",
        "3:3:;0;3:3:;0;0;;",
        "3:3:;0;3:3:;0;0\n",
        " 3:3:;0;3:3:;0;0",
        "3:3:;-7;3:3:;0;0",
        "3:3:;0;3:3:;0;-1",
        "3:3:;0;3:3:;;0",
        "3:3;0;3:3:;0;0",
        "5:3:;0;3:3:;0;0",
        "0:3:;0;3:3:;0;0",
        "3:9:8,7;0;9:9:;0;0",
        "3:9:,;0;9:9:;0;0",
        "3:3:;0;3:9:12;0;0",
        "3:3:;9223372036854775808;3:3:;0;0",
        "3:9223372036854775808:;0;3:3:;0;0",
        "3:3:;0;3:99999999999999999999:;0;0",
        "3:3:;0;3:3:;0;99999999999999999999",
    ] {
        let window = format!("E'{}'", window.replace('\n', "\\n"));
        for call in [
            format!("read('d', {window}, 0, 1, 1, 1)"),
            format!("next_window({window})"),
            format!("ack_position('c', 'd', 1, {window}, 7, 0)"),
        ] {
            let error = refused(&client, &format!("SELECT notify_json.{call}"), "22023").await;
            assert_eq!(error.message(), "malformed window", "{call}");
            assert!(error.detail().unwrap().contains(" bytes"), "{call}: {error:?}");
        }
    }
    let error = refused(&client, "SELECT notify_json.next_window(NULL)", "22023").await;
    assert!(error.detail().unwrap().starts_with("It is NULL; "), "{error:?}");
    for call in [
        format!("read('d', '{EARLIEST}', -1, 1, 1, 1)"),
        format!("ack_position('c', 'd', 1, '{EARLIEST}', -1, 0)"),
        format!("ack_position('c', 'd', 1, '{EARLIEST}', NULL, 0)"),
    ] {
        refused(&client, &format!("SELECT notify_json.{call}"), "22023").await;
    }
    assert_eq!(position(&client).await, before);
    run(&client, &format!("SELECT notify_json.ack_position('c', 'd', 1, '{EARLIEST}', 7, 0)"))
        .await;
    assert_ne!(position(&client).await, before);
}
