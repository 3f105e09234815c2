//! `notify-json listen` and whoever reads its output: slowly, not at all, or no longer.

use std::fs::File;
use std::io::{Read, read_to_string};
use std::process::{Command, Stdio};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use notify_json_tests::{Database, Running, Server, notify_json, texts};
use serde_json::Value;
use tokio_postgres::Client;

/// `notify-json listen` with its output going where a shell is told.
fn listen(database: &Database, arguments: &[&str], redirection: &str) -> Running {
    let script = format!(r#""$0" "$@" {redirection}; exit ${{PIPESTATUS[0]}}"#);
    let mut command = Command::new("bash");
    command.args(["-c", &script]).arg(notify_json().get_program());
    Running::start(command.arg("listen").args(arguments).args(["--url", database.url()]))
}

/// The same into a pipe that nobody reads but the test.
fn listen_into_pipe(database: &Database, arguments: &[&str]) -> (Running, File) {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", r#"exec "$0" "$@" >"$PIPE""#]).arg(notify_json().get_program());
    command.arg("listen").args(arguments).args(["--url", database.url()]).env("PIPE", &pipe);
    let mut running = Running::start(&mut command);
    let reader = File::open(&pipe).unwrap();
    running.wait_for_error_line("listening on c");
    (running, reader)
}

/// A database whose channel `c` is durable.
async fn durable() -> (Database, Client) {
    let database = Server::shared().database().await;
    let client = database.connect().await;
    client.batch_execute("SELECT notify_json.create_channel('c')").await.unwrap();
    (database, client)
}

async fn publish(client: &Client, count: i64) {
    let sql = "SELECT notify_json('c', to_json(n)) FROM generate_series(1, $1::bigint) AS n";
    client.query(sql, &[&count]).await.unwrap();
}

async fn lag(client: &Client) -> i64 {
    let sql = "SELECT sum(lag_events)::bigint FROM notify_json.consumers";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Publishes 20 messages of a megabyte, far more than a pipe holds, and waits until all that listen
/// have them.
async fn publish_much(client: &Client) -> String {
    let text = texts::incompressible(1_000_000, 1);
    for _ in 0..20 {
        client.execute("SELECT notify_json('c', $1::text)", &[&text]).await.unwrap();
    }
    let usage = "SELECT pg_notification_queue_usage()";
    while client.query_one(usage, &[]).await.unwrap().get::<_, f64>(0) > 0.0 {}
    format!("{text}\n").repeat(20)
}

#[tokio::test]
async fn a_reader_that_stalls_holds_up_nobody_and_loses_nothing() {
    let database = Server::shared().database().await;
    let (running, reader) = listen_into_pipe(&database, &["c", "--payload-only"]);
    let expected = publish_much(&database.connect().await).await;
    let reading = std::thread::spawn(|| read_to_string(reader).unwrap());
    running.signal(Signal::SIGTERM);
    assert!(reading.join().unwrap() == expected, "what was received is printed");
    assert_eq!(running.finish().0, Some(0));
}

#[tokio::test]
async fn one_signal_ends_it_though_nobody_reads() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let database = Server::shared().database().await;
        let (running, reader) = listen_into_pipe(&database, &["c", "--payload-only"]);
        let expected = publish_much(&database.connect().await).await;
        running.signal(signal);
        let (code, _, errors) = running.finish();
        assert_eq!(code, Some(0), "{errors}");
        assert!(errors.contains("nobody reads standard output"), "{errors}");
        assert!(expected.starts_with(&read_to_string(reader).unwrap()));
    }
}

#[tokio::test]
async fn a_consumer_that_nobody_reads_acknowledges_exactly_what_is_written() {
    let (database, client) = durable().await;
    publish(&client, 50_000).await;
    let mut next = 1;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGTERM] {
        let (running, mut reader) = listen_into_pipe(&database, &["c", "--consumer", "worker"]);
        let mut output = String::new();
        // It prints, and soon has nowhere to go on.
        reader.by_ref().take(10_000).read_to_string(&mut output).unwrap();
        running.signal(signal);
        let (code, _, errors) = running.finish();
        assert_eq!(code, Some(0), "{errors}");
        reader.read_to_string(&mut output).unwrap();
        let (lines, _torn) = output.rsplit_once('\n').unwrap();
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["payload"], next);
            next += 1;
        }
        assert_eq!(lag(&client).await, 50_001 - next);
    }
}

#[tokio::test]
async fn without_a_signal_it_waits_for_its_reader() {
    let (database, client) = durable().await;
    publish(&client, 50_000).await;
    let arguments = ["c", "--consumer", "worker", "--count", "50000", "--payload-only"];
    let (running, reader) = listen_into_pipe(&database, &arguments);
    let expected: String = (1..50_001).map(|n| format!("{n}\n")).collect();
    assert!(read_to_string(reader).unwrap() == expected);
    assert_eq!(running.finish().0, Some(0));
    assert_eq!(lag(&client).await, 0);
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_at_once() {
    let (database, client) = durable().await;
    client.batch_execute("SELECT notify_json('c', '1'), notify_json('live', '1')").await.unwrap();
    // Nothing more comes that it could fail to write.
    for arguments in [&["live"][..], &["c", "--since", "latest"], &["c", "--consumer", "none"]] {
        assert_eq!(listen(&database, arguments, "| true").finish().0, Some(0), "{arguments:?}");
    }
    let mut running = listen(&database, &["live", "--payload-only"], "| head -n 1");
    running.wait_for_error_line("listening on live");
    client.batch_execute("SELECT notify_json('live', '2')").await.unwrap();
    let (code, output, errors) = running.finish();
    assert_eq!((code, output.as_str(), errors.as_str()), (Some(0), "2\n", ""));

    let arguments = ["c", "--consumer", "worker", "--payload-only"];
    let (code, output, errors) = listen(&database, &arguments, "| head -n 1").finish();
    assert_eq!((code, output.as_str(), errors.as_str()), (Some(0), "1\n", "listening on c\n"));
    let acked = "SELECT lag_events = 0 FROM notify_json.consumers WHERE consumer = 'worker'";
    assert!(client.query_one(acked, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test]
async fn what_cannot_be_written_is_not_acknowledged() {
    let (database, client) = durable().await;
    publish(&client, 3).await;
    let (code, _, errors) =
        listen(&database, &["c", "--consumer", "worker"], ">/dev/full").finish();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("No space left on device"), "{errors}");
    assert_eq!(lag(&client).await, 3);
}

/// Runs it with a terminal for its errors; returns what is seen there.
fn on_terminal(database: &Database, arguments: &[&str], end: Option<&str>) -> String {
    let terminal = openpty(None, None).unwrap();
    let mut command = notify_json();
    command.args(["listen", "--url", database.url()]).args(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(terminal.slave).spawn().unwrap();
    // It holds the other end, too.
    drop(command);
    let mut screen = File::from(terminal.master);
    let (mut seen, mut bytes) = (String::new(), [0; 4096]);
    // The end of the last process is an error here.
    while let Ok(count) = screen.read(&mut bytes) {
        seen += str::from_utf8(&bytes[..count]).unwrap();
        if end.is_some_and(|end| seen.ends_with(end)) {
            kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        }
    }
    assert!(child.wait().unwrap().success(), "{seen}");
    seen
}

#[tokio::test]
async fn a_terminal_shows_how_far_catching_up_is() {
    let (database, client) = durable().await;
    publish(&client, 20_000).await;
    let arguments = ["c", "--consumer", "worker"];
    let cleared = "\r\x1b[2K";
    let some = on_terminal(&database, &[&arguments[..], &["--count", "5000"]].concat(), None);
    assert!(some.starts_with("listening on c\r\n"), "{some}");
    assert!(some.contains(" 0 events, catching up "), "{some}");
    assert!(some.contains(" 1 events, catching up "), "{some}");
    assert!(some.ends_with(cleared), "{some}");

    let end = "notify-json: caught up after 15,000 events\r\n";
    let rest = on_terminal(&database, &arguments, Some(end));
    assert!(rest.ends_with(&format!("{cleared}{end}")), "{rest}");

    let end = "notify-json: caught up after 0 events\r\n";
    let nothing = on_terminal(&database, &arguments, Some(end));
    assert!(nothing.ends_with(&format!("{cleared}{end}")), "{nothing}");
}
