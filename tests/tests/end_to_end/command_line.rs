//! `notify-json` as a user runs it.

use std::process::Command;

use nix::sys::signal::Signal;
use notify_json_tests::{Database, Running, Server, notify_json, texts};

fn listen(database: &Database, arguments: &[&str]) -> Running {
    let mut command = notify_json();
    command.args(["listen", "--url", database.url()]).args(arguments);
    let mut running = Running::start(&mut command);
    running.wait_for_error_line("listening on");
    running
}

fn publish(database: &Database, arguments: &[&str]) -> Running {
    let mut command = notify_json();
    Running::start(command.args(["publish", "--url", database.url()]).args(arguments))
}

/// Runs a command to its end: exit code, output, errors.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    Running::start(command).finish()
}

#[tokio::test]
async fn one_object_a_line_with_the_payload_verbatim() {
    let database = Server::shared().database().await;
    let mut listen = listen(&database, &["orders", "b", "a \"q\""]);
    let client = database.connect().await;
    for (channel, payload, line) in [
        ("orders", r#"{"id": 1.10}"#, r#"{"channel":"orders","payload":{"id": 1.10}}"#),
        ("b", " [1,\n\t2,\r\n 3]\n", "{\"channel\":\"b\",\"payload\": [1, \t2,   3] }"),
        ("a \"q\"", "\"é\\n\"", "{\"channel\":\"a \\\"q\\\"\",\"payload\":\"é\\n\"}"),
    ] {
        client.execute("SELECT notify_json($1, $2::text)", &[&channel, &payload]).await.unwrap();
        assert_eq!(listen.line(), line);
    }
    client.batch_execute("NOTIFY b, 'not \"json'").await.unwrap();
    assert_eq!(
        listen.line(),
        r#"{"channel":"b","error":"payload is not JSON (line 1, column 2)","raw":"not \"json"}"#
    );
    client.batch_execute("NOTIFY b, '~3'").await.unwrap();
    let line: serde_json::Value = serde_json::from_str(&listen.line()).unwrap();
    assert_eq!(line["raw"], "~3");
    assert!(line["error"].as_str().unwrap().contains("not version 1"), "{line}");
}

#[tokio::test]
async fn count_and_timeout_end_it() {
    let database = Server::shared().database().await;
    let running = listen(&database, &["c", "--payload-only", "--count", "2"]);
    let large = texts::incompressible(1_000_000, 1);
    let client = database.connect().await;
    for text in ["1", &large, "3"] {
        client.execute("SELECT notify_json('c', $1::text)", &[&text]).await.unwrap();
    }
    let (code, output, _) = running.finish();
    assert_eq!(code, Some(0));
    assert!(output == format!("1\n{large}\n"));

    let running = listen(&database, &["c", "--count", "2", "--timeout", "1.5"]);
    client.batch_execute("SELECT notify_json('c', '1')").await.unwrap();
    let (code, output, _) = running.finish();
    assert_eq!((code, output.as_str()), (Some(3), "{\"channel\":\"c\",\"payload\":1}\n"));
}

#[tokio::test]
async fn payload_only_reports_what_is_not_json_beside_the_output() {
    let database = Server::shared().database().await;
    let running = listen(&database, &["c", "--payload-only", "--count", "2"]);
    let client = database.connect().await;
    client.batch_execute("NOTIFY c, 'nonsense'; SELECT notify_json('c', '1')").await.unwrap();
    let (code, output, errors) = running.finish();
    assert_eq!((code, output.as_str()), (Some(0), "1\n"));
    assert!(errors.contains("notify-json: c: payload is not JSON"), "{errors}");
}

#[tokio::test]
async fn a_signal_prints_what_was_received_and_exits_0() {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut running = listen(&database, &["c", "--payload-only"]);
        client
            .batch_execute("SELECT notify_json('c', to_json(n)) FROM generate_series(1, 1000) n")
            .await
            .unwrap();
        assert_eq!(running.line(), "1");
        running.signal(signal);
        let (code, output, errors) = running.finish();
        assert_eq!(code, Some(0), "{errors}");
        for (number, line) in (2..).zip(output.lines()) {
            assert_eq!(line, number.to_string());
        }
    }
}

#[tokio::test]
async fn publish_sends_an_argument_a_document_or_lines() {
    let database = Server::shared().database().await;
    let mut listen = listen(&database, &["c", "--payload-only"]);
    let (code, output, errors) = publish(&database, &["c", r#"{"id": 42}"#]).finish();
    assert_eq!((code, output.as_str(), errors.as_str()), (Some(0), "", ""));
    assert_eq!(listen.line(), r#"{"id": 42}"#);

    for arguments in [&["c"][..], &["c", "-"]] {
        let document = texts::string("é", 2_000_000, 1);
        let mut publish = publish(&database, arguments);
        publish.write(&format!("\n{document}\n"));
        assert_eq!(publish.finish().0, Some(0));
        assert!(listen.line() == format!(" {document} "));
    }

    let mut publish = publish(&database, &["c", "--lines"]);
    for number in 0..100 {
        publish.write(&format!("[{number}]\n\n"));
        assert_eq!(listen.line(), format!("[{number}]"), "sent as it is read");
    }
    publish.write("\"last without line feed\"");
    assert_eq!(publish.finish().0, Some(0));
    assert_eq!(listen.line(), "\"last without line feed\"");
}

#[tokio::test]
async fn errors_exit_1_and_say_what_to_do() {
    let database = Server::shared().database().await;
    let (code, output, errors) = publish(&database, &["c", "{"]).finish();
    assert_eq!((code, output.as_str()), (Some(1), ""));
    assert!(errors.contains("payload is not valid JSON"), "{errors}");
    assert_eq!(publish(&database, &["c", "-1"]).finish().0, Some(0), "-1 is JSON");
    assert!(errors.contains("HINT"), "{errors}");

    let mut lines = publish(&database, &["c", "--lines"]);
    lines.write("1\n2\nthree\n4\n");
    let (code, _, errors) = lines.finish();
    assert_eq!(code, Some(1));
    assert!(errors.contains("line 3, after 2 messages sent"), "{errors}");

    database.execute("DROP EXTENSION notify_json").await;
    let (code, _, errors) = publish(&database, &["c", "1"]).finish();
    assert_eq!(code, Some(1));
    assert!(errors.contains("CREATE EXTENSION notify_json"), "{errors}");

    for name in ["", &"x".repeat(64)] {
        let (code, _, errors) = run(notify_json().args(["listen", name, "--url", database.url()]));
        assert_eq!(code, Some(1));
        assert!(errors.contains("must have 1 to 63 bytes"), "{errors}");
    }
    let (code, _, errors) =
        run(notify_json().args(["listen", "c", "--url", "postgres://127.0.0.1:1/x"]));
    assert_eq!(code, Some(1));
    assert!(errors.starts_with("notify-json: cannot connect to 127.0.0.1:1: "), "{errors}");
}

#[tokio::test]
async fn a_lost_connection_is_a_gap_for_every_channel() {
    let database = Server::shared().database().await;
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name = 'notify_json' AND datname = current_database()";
    let mut running = listen(&database, &["a", "b"]);
    let failing = listen(&database, &["a", "b", "--fail-on-gap"]);
    let client = database.connect().await;
    client.batch_execute(terminate).await.unwrap();
    let gap = |line: &str, channel| {
        let gap: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(gap["channel"], channel, "{line}");
        assert_eq!(gap["gap"]["reason"], "reconnected", "{line}");
        assert!(gap["gap"]["down_for_seconds"].is_f64(), "{line}");
    };
    gap(&running.line(), "a");
    gap(&running.line(), "b");
    client.batch_execute("SELECT notify_json('a', '1')").await.unwrap();
    assert_eq!(running.line(), r#"{"channel":"a","payload":1}"#, "it keeps going");
    let (code, output, _) = failing.finish();
    assert_eq!(code, Some(4));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 2);
    gap(lines[0], "a");
    gap(lines[1], "b");
}

#[test]
fn usage_errors_exit_2() {
    for arguments in [
        &[][..],
        &["listen"],
        &["listen", "c", "--count", "0"],
        &["listen", "c", "--timeout", "soon"],
        &["listen", "c", "--timeout", "-1"],
        &["publish"],
        &["publish", "c", "1", "--lines"],
        &["unknown"],
    ] {
        let (code, output, errors) = run(notify_json().args(arguments));
        assert_eq!((code, output.as_str()), (Some(2), ""), "{arguments:?}: {errors}");
        assert!(errors.contains("--help") || errors.contains("Usage"), "{arguments:?}: {errors}");
    }
    for (arguments, expected) in [
        (["--help"], "listen"),
        (["--version"], concat!("notify-json ", env!("CARGO_PKG_VERSION"))),
    ] {
        let (code, output, _) = run(notify_json().args(arguments));
        assert_eq!(code, Some(0));
        assert!(output.contains(expected), "{output}");
    }
}

#[tokio::test]
async fn the_url_comes_before_the_environment() {
    let server = Server::shared();
    let database = server.database().await;
    let name = database.url().rsplit('/').next().unwrap();
    let port = server.port().to_string();
    let socket = server.socket_folder().to_str().unwrap();
    let variables = |host| {
        let mut command = notify_json();
        command.args(["publish", "c", "1"]).env("PGHOST", host).env("PGPORT", &port);
        command.env("PGUSER", "postgres").env("PGDATABASE", name);
        command
    };
    for host in ["127.0.0.1", socket] {
        assert_eq!(run(&mut variables(host)).0, Some(0), "{host}");
    }
    let nowhere = "postgres://127.0.0.1:1/x";
    let (code, ..) = run(variables("127.0.0.1").env("DATABASE_URL", nowhere));
    assert_eq!(code, Some(1), "DATABASE_URL comes before PG*");
    let mut command = notify_json();
    command.args(["publish", "c", "1", "--url", database.url()]).env("DATABASE_URL", nowhere);
    assert_eq!(run(&mut command).0, Some(0), "--url comes before DATABASE_URL");
    let (code, _, errors) = run(variables("127.0.0.1").env("PGPORT", "many"));
    assert_eq!(code, Some(1));
    assert!(errors.contains("parameter port (from PGPORT) must be a number"), "{errors}");
}

#[tokio::test]
async fn a_password_is_never_shown() {
    let server = Server::shared();
    let url = format!("postgres://postgres:hunter2@127.0.0.1:{}/none", server.port());
    let (code, output, errors) =
        run(notify_json().args(["listen", "c", "--url", &url]).env("RUST_LOG", "trace"));
    assert_eq!(code, Some(1));
    assert!(!output.contains("hunter2") && !errors.contains("hunter2"), "{errors}");
    let (_, help, _) = run(notify_json().args(["listen", "--help"]).env("DATABASE_URL", &url));
    assert!(!help.contains("hunter2"), "{help}");
}

#[tokio::test]
async fn logs_hold_no_payload() {
    let database = Server::shared().database().await;
    let mut command = notify_json();
    command.args(["listen", "c", "--payload-only", "--count", "2", "--url", database.url()]);
    let mut running = Running::start(command.env("RUST_LOG", "notify_json_client=trace"));
    running.wait_for_error_line("listening on c");
    let client = database.connect().await;
    client.batch_execute("SELECT notify_json('c', '\"SECRET\"')").await.unwrap();
    client.batch_execute("NOTIFY c, '~SECRET'; SELECT notify_json('c', '2')").await.unwrap();
    let (code, output, errors) = running.finish();
    assert_eq!(code, Some(0), "{output}");
    assert!(errors.contains("notification channel=\"c\""), "{errors}");
    assert!(!errors.contains("SECRET"), "{errors}");
}
