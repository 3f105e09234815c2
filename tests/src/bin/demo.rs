//! `make demo`: JSON of every size from `psql` to typed events in Rust, checked by digest.
//!
//! The server outlives the program, so that its user can go on by hand; `demo stop` stops it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use notify_json_client::{Event, Listener, Message};
use notify_json_tests::{PersistentServer, psql};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const DOCUMENTS: &str = "/usr/share/iso-codes/json";

/// What `psql` sends, one row and transaction each: a name, and the SQL of the JSON text.
fn texts() -> Vec<(&'static str, String)> {
    let file = |name: &str| format!("pg_read_file('{DOCUMENTS}/{name}')");
    vec![
        ("a small object", r#"'{"id": 42, "status": "paid"}'"#.to_owned()),
        ("7,999 bytes, the most NOTIFY takes", "to_json(repeat('x', 7997))::text".to_owned()),
        ("8,000 bytes", "to_json(repeat('x', 7998))::text".to_owned()),
        ("iso_3166-2.json", file("iso_3166-2.json")),
        ("iso_639-3.json", file("iso_639-3.json")),
    ]
}

const TRIGGER: &str = "through a trigger";
const ROLLED_BACK: &str = "rolled back";

/// Prints for each message its name, digest and the time at which it was sent.
fn script() -> String {
    let mut script = String::from(
        "CREATE TABLE orders (id int PRIMARY KEY, status text);
         CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM notify_json('demo', to_jsonb(NEW));
             RETURN NULL;
         END $$;
         CREATE TRIGGER announce AFTER INSERT ON orders
             FOR EACH ROW EXECUTE FUNCTION announce();\n",
    );
    let sent = |name: &str, text: &str, action: &str| {
        format!(
            "SELECT json_build_object(
                 'name', '{name}',
                 'sha256', encode(sha256(convert_to({text}, 'UTF8')), 'hex'),
                 'seconds', extract(epoch FROM clock_timestamp())){action};\n"
        )
    };
    for (name, text) in texts() {
        script += &sent(name, &text, &format!(", notify_json('demo', {text})"));
    }
    script += &sent(TRIGGER, "to_jsonb(row(7, 'new')::orders)::text", "");
    script += "INSERT INTO orders VALUES (7, 'new');\n";
    script += "BEGIN;\n";
    script += &sent(ROLLED_BACK, "'-1'", ", notify_json('demo', '-1')");
    script += "ROLLBACK;\n";
    script += &sent("the end", "'\"the end\"'", r#", notify_json('demo', '"the end"')"#);
    script
}

#[derive(Deserialize)]
struct Sent {
    name: String,
    sha256: String,
    /// Since the epoch, by the clock that this program reads too.
    seconds: f64,
}

struct Received {
    sha256: String,
    bytes: usize,
    frames: u32,
    at: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("stop") {
        PersistentServer::stop("demo");
        return ExitCode::SUCCESS;
    }
    println!("Starting a private PostgreSQL ...");
    let server = PersistentServer::start("demo");
    publish(server.url(), "CREATE EXTENSION notify_json;");
    let listener = Listener::connect(server.url()).await.expect("the server has just started");
    let mut subscription = listener.subscribe::<Message>("demo").await.expect("LISTEN");

    let url = server.url().to_owned();
    let publishing = std::thread::spawn(move || publish(&url, &script()));
    let mut received = Vec::new();
    loop {
        let message = match subscription.recv().await.expect("the listener runs") {
            Ok(Event::Message(message)) => message,
            other => panic!("{other:?}"),
        };
        let at = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let text = message.json().expect("the extension compresses correctly");
        received.push(Received {
            sha256: Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").expect("writing to memory");
                hex
            }),
            bytes: text.len(),
            frames: message.frame_count(),
            at,
        });
        if text == "\"the end\"" {
            break;
        }
    }
    let sent: Vec<Sent> = publishing
        .join()
        .expect("psql ran")
        .lines()
        .filter_map(|line| serde_json::from_str(line.split('|').next()?).ok())
        .collect();
    let ok = report(&sent, received);
    how_to_go_on(&server);
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs SQL in `psql` and returns its output.
fn publish(url: &str, sql: &str) -> String {
    let mut script = tempfile::NamedTempFile::new().expect("there is a temporary folder");
    script.write_all(sql.as_bytes()).expect("there is room");
    let output = psql(url)
        .args(["--quiet", "--tuples-only", "--no-align", "--file"])
        .arg(script.path())
        .output()
        .expect("psql is installed with the server");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the database is UTF-8")
}

/// Prints what became of every message; `true` if all went as it should.
fn report(sent: &[Sent], received: Vec<Received>) -> bool {
    println!("\n{:<36}{:>9}{:>8}{:>11}  sha256", "sent from psql", "bytes", "frames", "ms");
    let mut arrived: HashMap<String, Received> =
        received.into_iter().map(|message| (message.sha256.clone(), message)).collect();
    let mut ok = sent.len() == texts().len() + 3;
    for Sent { name, sha256, seconds } in sent {
        match arrived.remove(sha256) {
            Some(Received { bytes, frames, at, .. }) => {
                let frames = if bytes <= 7_999 { "bare".to_owned() } else { frames.to_string() };
                let milliseconds = (at.as_secs_f64() - seconds) * 1_000.0;
                println!("{name:<36}{bytes:>9}{frames:>8}{milliseconds:>11.2}  {sha256:.12}… same");
                ok &= name != ROLLED_BACK;
            }
            None if name == ROLLED_BACK => println!("{name:<36}{:>28}  not sent, rightly", ""),
            None => {
                println!("{name:<36}{:>28}  MISSING OR CHANGED", "");
                ok = false;
            }
        }
    }
    for stranger in arrived.into_values() {
        println!("{:<36}{:>9}{:>19}  NEVER SENT LIKE THIS", "", stranger.bytes, "");
        ok = false;
    }
    println!(
        "\n{}",
        if ok { "Every document came through byte for byte." } else { "The demo FAILED." }
    );
    ok
}

fn how_to_go_on(server: &PersistentServer) {
    let url = server.url();
    let psql = psql(url);
    println!(
        "
Go on by hand. Listen in one terminal:

    target/release/notify-json listen orders --url '{url}'

and publish in another:

    '{}' '{url}' -c \"SELECT notify_json('orders', '{{\\\"id\\\": 42}}')\"

The server runs until you stop it:

    make demo-stop",
        psql.get_program().display()
    );
}
