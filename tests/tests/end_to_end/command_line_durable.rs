//! `notify-json` with durable channels.

use nix::sys::signal::Signal;
use notify_json_tests::{Database, Running, Server, notify_json};
use serde_json::Value;
use tokio_postgres::Client;

fn start(database: &Database, arguments: &[&str]) -> Running {
    let (command, rest) = arguments.split_first().unwrap();
    Running::start(notify_json().args([command, "--url", database.url()]).args(rest))
}

fn run(database: &Database, arguments: &[&str]) -> (Option<i32>, String, String) {
    start(database, arguments).finish()
}

async fn case() -> (Database, Client) {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    client.batch_execute("SELECT notify_json.create_channel('c')").await.unwrap();
    (database, client)
}

async fn publish(client: &Client, count: i64) {
    let sql = "SELECT notify_json('c', to_json(n)) FROM generate_series(1, $1::bigint) AS n";
    client.query(sql, &[&count]).await.unwrap();
}

/// Waits until the consumer has acknowledged what it has printed.
async fn acknowledged(client: &Client) {
    let lag = "SELECT sum(lag_events)::bigint FROM notify_json.consumers";
    while client.query_one(lag, &[]).await.unwrap().get::<_, i64>(0) > 0 {}
}

fn payloads(output: &str) -> Vec<i64> {
    let payload = |line| serde_json::from_str::<Value>(line).unwrap()["payload"].as_i64().unwrap();
    output.lines().map(payload).collect()
}

#[tokio::test]
async fn a_consumer_goes_on_where_it_stopped() {
    let (database, client) = case().await;
    publish(&client, 5).await;
    let listen = ["listen", "c", "--consumer", "worker"];
    let (code, output, _) = run(&database, &[&listen[..], &["--count", "2"]].concat());
    assert_eq!((code, payloads(&output)), (Some(0), vec![1, 2]));
    let first: Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
    assert_eq!(first["channel"], "c");
    assert!(first["id"].is_i64() && first["published_at"].as_str().unwrap().ends_with('Z'));

    let mut running = start(&database, &listen);
    for number in 3..=5 {
        assert_eq!(payloads(&running.line()), [number]);
    }
    publish(&client, 1).await;
    assert_eq!(payloads(&running.line()), [1]);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish().0, Some(0));
    let (code, output, _) = run(&database, &[&listen[..], &["--timeout", "0.5"]].concat());
    assert_eq!((code, output.as_str()), (Some(3), ""));
}

#[tokio::test]
async fn the_next_consumer_takes_over_from_one_that_was_killed() {
    let (database, client) = case().await;
    publish(&client, 1).await;
    let listen = ["listen", "c", "--consumer", "worker"];
    let mut first = start(&database, &listen);
    assert_eq!(payloads(&first.line()), [1]);
    acknowledged(&client).await;
    let mut second = start(&database, &listen);
    second.wait_for_error_line("listening on");
    first.signal(Signal::SIGSTOP);
    publish(&client, 2).await;
    assert_eq!([payloads(&second.line()), payloads(&second.line())], [[1], [2]]);
    acknowledged(&client).await;
    first.signal(Signal::SIGCONT);
    second.signal(Signal::SIGKILL);
    publish(&client, 3).await;
    for number in 1..=3 {
        assert_eq!(payloads(&first.line()), [number]);
    }
}

#[tokio::test]
async fn acknowledging_waits_for_a_server_that_was_there() {
    let (database, client) = case().await;
    let grant = "CREATE ROLE limited LOGIN; SELECT notify_json.grant_consume('c', 'limited')";
    client.batch_execute(grant).await.unwrap();
    let listen = ["listen", "c", "--consumer", "worker"];
    let mut running = start(&database.as_role("limited"), &listen);
    publish(&client, 1).await;
    assert_eq!(payloads(&running.line()), [1]);
    acknowledged(&client).await;
    // The session that acknowledged is lost, and there is none to be had.
    client.batch_execute("ALTER ROLE limited CONNECTION LIMIT 0").await.unwrap();
    let sessions = "FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE '%ack_position%'
                        AND pid <> pg_backend_pid()";
    let terminate = format!("SELECT pg_terminate_backend(pid) {sessions}");
    assert_eq!(client.query(&terminate, &[]).await.unwrap().len(), 1);
    let gone = format!("SELECT count(*) = 0 {sessions}");
    while !client.query_one(&gone, &[]).await.unwrap().get::<_, bool>(0) {}
    publish(&client, 1).await;
    assert_eq!(payloads(&running.line()), [1]);
    running.wait_for_error_line("not acknowledged yet: ");
    client.batch_execute("ALTER ROLE limited CONNECTION LIMIT -1").await.unwrap();
    publish(&client, 1).await;
    assert_eq!(payloads(&running.line()), [1]);
    acknowledged(&client).await;
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish().0, Some(0));
}

#[tokio::test]
async fn a_database_may_have_another_level_of_isolation() {
    let (database, client) = case().await;
    let serializable = "DO $$ BEGIN EXECUTE format(
        'ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
        END $$; SELECT notify_json.alter_channel('c', retention => '1 microsecond')";
    client.batch_execute(serializable).await.unwrap();
    publish(&client, 1_000).await;
    let (code, output, errors) = run(&database, &["prune"]);
    assert_eq!((code, output.as_str()), (Some(0), "{\"removed\":1000}\n"), "{errors}");
    client
        .batch_execute("SELECT notify_json.alter_channel('c', retention => '1 day')")
        .await
        .unwrap();
    publish(&client, 1_000).await;
    let listen = ["listen", "c", "--consumer", "worker", "--count", "1000"];
    let (code, output, errors) = run(&database, &listen);
    assert_eq!((code, output.lines().count()), (Some(0), 1_000), "{errors}");
    acknowledged(&client).await;
}

#[tokio::test]
async fn what_is_not_printed_as_it_is_of_no_use_is_acknowledged_too() {
    let (database, client) = case().await;
    client.batch_execute("SELECT notify_json('c', '[1, 2, 3]')").await.unwrap();
    let arguments = ["listen", "c", "--consumer", "worker", "--payload-only"];
    let mut running = start(&database, &[&arguments[..], &["--max-message-bytes", "5"]].concat());
    running.wait_for_error_line("event 1 has 9 bytes");
    acknowledged(&client).await;
    publish(&client, 1).await;
    assert_eq!(running.line(), "1");
    acknowledged(&client).await;
}

#[tokio::test]
async fn a_log_is_replayed_from_where_one_says() {
    let (database, client) = case().await;
    publish(&client, 3).await;
    let since = |since: &str, count: &str| {
        run(&database, &["listen", "c", "--since", since, "--count", count])
    };
    let (code, output, _) = since("earliest", "3");
    assert_eq!((code, payloads(&output)), (Some(0), vec![1, 2, 3]));
    let first: Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
    assert_eq!(payloads(&since(first["position"].as_str().unwrap(), "2").1), [2, 3]);
    assert_eq!(payloads(&since(first["published_at"].as_str().unwrap(), "3").1), [1, 2, 3]);
    assert_eq!(payloads(&since("1h", "3").1), [1, 2, 3]);

    let mut latest = start(&database, &["listen", "c", "--since", "latest", "--count", "1"]);
    latest.wait_for_error_line("listening on");
    publish(&client, 1).await;
    assert_eq!(payloads(&latest.finish().1), [1]);

    for (arguments, word) in [
        (&["listen", "c", "--since", "whenever"][..], "earliest, latest"),
        (&["listen", "c", "d", "--since", "latest"], "one channel"),
        (&["listen", "c", "--since", "latest", "--consumer", "x"], "cannot be used with"),
    ] {
        let (code, _, errors) = run(&database, arguments);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains(word), "{errors}");
    }
    let (code, _, errors) = run(&database, &["listen", "unknown", "--since", "latest"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("unknown"), "{errors}");
}

#[tokio::test]
async fn channels_and_consumers_are_listed_moved_and_pruned() {
    let (database, client) = case().await;
    publish(&client, 3).await;
    let take = ["listen", "c", "--consumer", "worker", "--count", "2"];
    run(&database, &take);
    let object = |arguments: &[&str]| {
        let (code, output, errors) = run(&database, arguments);
        assert_eq!(code, Some(0), "{errors}");
        serde_json::from_str::<Value>(&output).unwrap()
    };
    let channel = object(&["channels"]);
    assert_eq!((&channel["name"], &channel["durable"]), (&"c".into(), &true.into()));
    let consumer = object(&["consumers"]);
    assert_eq!((&consumer["consumer"], &consumer["lag_events"]), (&"worker".into(), &1.into()));
    assert_eq!(run(&database, &["consumers", "d"]).1, "");

    assert_eq!(run(&database, &["seek", "c", "worker", "earliest"]).0, Some(0));
    assert_eq!(object(&["consumers", "c"])["lag_events"], 3);
    let (code, _, errors) = run(&database, &["seek", "c", "worker", "somewhere"]);
    assert_eq!(code, Some(1));
    assert!(!errors.is_empty());

    // The consumer above has gone, but the server may not be done with what it asked for.
    let pruning = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()
                       AND query LIKE '%notify_json.prune()%'";
    while client.query_one(pruning, &[]).await.unwrap().get::<_, i64>(0) > 0 {}
    assert_eq!(object(&["prune"])["removed"], 0);
    client
        .batch_execute("SELECT notify_json.alter_channel('c', retention => '1 microsecond')")
        .await
        .unwrap();
    assert_eq!(object(&["prune"])["removed"], 3);
    client
        .batch_execute("SELECT notify_json.alter_channel('c', retention => '1 day')")
        .await
        .unwrap();
    publish(&client, 1).await;
    let fail = ["listen", "c", "--consumer", "worker", "--fail-on-gap"];
    let (code, output, _) = run(&database, &fail);
    assert_eq!(code, Some(4));
    assert_eq!(output, "{\"channel\":\"c\",\"gap\":{\"reason\":\"expired\",\"skipped\":3}}\n");
}

/// The errors of a command that fails.
fn refused(database: &Database, arguments: &[&str]) -> String {
    let (code, output, errors) = run(database, arguments);
    assert_eq!((code, output.as_str()), (Some(1), ""), "{arguments:?}: {errors}");
    errors
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_to_grant() {
    let (database, client) = case().await;
    publish(&client, 2).await;
    client.batch_execute("CREATE ROLE granted LOGIN").await.unwrap();
    let role = database.as_role("granted");
    let consuming: [(&[&str], _); 3] = [
        (&["listen", "c", "--consumer", "w", "--count", "1"], 1),
        (&["listen", "c", "--since", "earliest", "--count", "1"], 1),
        (&["seek", "c", "w", "latest"], 0),
    ];
    for (arguments, _) in consuming {
        let errors = refused(&role, arguments);
        assert!(errors.contains("permission denied to consume on channel \"c\""), "{errors}");
        assert!(errors.contains("SELECT notify_json.grant_consume('c', 'granted')"), "{errors}");
    }
    assert!(refused(&role, &["prune"]).contains("may consume no channel"));
    for view in ["channels", "consumers"] {
        assert_eq!(run(&role, &[view]), (Some(0), String::new(), String::new()));
    }
    let errors = refused(&role, &["publish", "c", "1"]);
    assert!(errors.contains("SELECT notify_json.grant_publish('c', 'granted')"), "{errors}");

    client.batch_execute("SELECT notify_json.grant_consume('c', 'granted')").await.unwrap();
    let views: [(&[&str], _); 3] = [(&["prune"], 1), (&["channels"], 1), (&["consumers"], 1)];
    for (arguments, lines) in consuming.into_iter().chain(views) {
        let (code, output, errors) = run(&role, arguments);
        assert_eq!((code, output.lines().count()), (Some(0), lines), "{arguments:?}: {errors}");
    }
}

#[tokio::test]
async fn a_database_without_the_extension_is_told_how_to_get_it() {
    let (database, client) = case().await;
    client.batch_execute("DROP EXTENSION notify_json").await.unwrap();
    for arguments in [
        &["listen", "c", "--consumer", "w"][..],
        &["listen", "c", "--since", "earliest"],
        &["publish", "c", "1"],
        &["seek", "c", "w", "latest"],
        &["prune"],
        &["channels"],
        &["consumers"],
    ] {
        let errors = refused(&database, arguments);
        assert!(errors.contains("CREATE EXTENSION notify_json"), "{arguments:?}: {errors}");
    }
}
