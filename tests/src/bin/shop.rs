//! `make shop`: the client's example on a server of its own. Orders change by SQL while its two
//! services follow; billing is killed, the dashboard cut off, and in the end the books are compared.

use std::io::IsTerminal;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use notify_json_tests::{Database, Server, ServerOptions};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_postgres::Client;

const SCHEMA: &str = include_str!("../../../client/examples/shop/schema.sql");

/// What happens in the shop all the time.
const WORK: [&str; 4] = [
    "INSERT INTO orders (customer, total_cents, card)
     SELECT (ARRAY['Ada', 'Grace', 'Edgar', 'Jim'])[1 + random() * 3], 100 + random() * 9900,
        '4111 1111 1111 1111'
     FROM generate_series(1, 3)",
    "UPDATE orders SET status = 'paid'
     WHERE id IN (SELECT id FROM orders WHERE status = 'open' ORDER BY id LIMIT 2)",
    "UPDATE orders SET status = 'shipped'
     WHERE id IN (SELECT id FROM orders WHERE status = 'paid' ORDER BY id LIMIT 1)",
    "DELETE FROM orders WHERE id = (SELECT max(id) FROM orders WHERE status = 'open')",
];

/// More than billing has done when it is killed.
const RUSH: &str = "INSERT INTO orders (customer, total_cents, status, card)
    SELECT 'Barbara', n, 'paid', '4111 1111 1111 1111' FROM generate_series(1, 200) n";

/// What is no order, and must not hold up those behind it.
const MISTAKE: &str = r#"SELECT notify_json('paid_orders', '{"order": "none"}')"#;

const CUT_OFF: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'dashboard'";

const HAS_BILLED: &str = "SELECT count(*) > 20 FROM invoice";

const HAS_BILLED_ALL: &str = "SELECT lag_events = 0 FROM notify_json.consumers";

/// As the dashboard writes it.
const SUMS: &str = "SELECT format('%s open, %s paid, %s shipped',
        count(*) FILTER (WHERE status = 'open'), count(*) FILTER (WHERE status = 'paid'),
        count(*) FILTER (WHERE status = 'shipped'))
    FROM orders";

/// Orders paid, invoices, and those of them that are right.
const BOOKS: &str = "SELECT count(*) FILTER (WHERE status <> 'open'), count(order_id),
        count(*) FILTER (WHERE status <> 'open' AND invoice.total_cents = orders.total_cents)
    FROM orders FULL JOIN invoice ON order_id = id";

/// How long what is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).map_or(90, |rounds| rounds.parse().expect("a number"));
    println!("Starting a private PostgreSQL ...");
    let server = Server::start(&ServerOptions::default());
    let database = server.database().await;
    database.execute(SCHEMA).await;
    let client = database.connect().await;
    let (dashboard, shown) = start_dashboard(&database);
    let mut billing = start_billing(&database);

    let mut unbilled = 0;
    let mut pace = interval(Duration::from_millis(80));
    for round in 0..rounds {
        pace.tick().await;
        for sql in WORK {
            run(&client, sql).await;
        }
        if round == rounds / 3 {
            run(&client, MISTAKE).await;
            run(&client, RUSH).await;
            until(&client, HAS_BILLED).await;
            billing.kill().await.expect("it was started here");
            let (paid, invoices, _) = books(&client).await;
            unbilled = paid - invoices;
        } else if round == rounds / 2 {
            run(&client, CUT_OFF).await;
        } else if round == rounds * 2 / 3 {
            billing = start_billing(&database);
        }
    }

    until(&client, HAS_BILLED_ALL).await;
    let sums: String = client.query_one(SUMS, &[]).await.expect("the server runs").get(0);
    if let Some(mut shown) = shown {
        let is_shown = shown.wait_for(|line| line.ends_with(&sums));
        timeout(PATIENCE, is_shown).await.expect("the dashboard follows").expect("it runs");
    }
    let stopped = stop(billing).await & stop(dashboard).await;
    let (paid, invoices, right) = books(&client).await;
    let ok = stopped && paid == invoices && paid == right;
    println!("\nThe table:         {sums}");
    println!(
        "Paid:              {paid}, {unbilled} of them without invoice when billing was killed"
    );
    println!("Invoices:          {invoices}, {right} of them right");
    println!(
        "{}",
        if ok { "Every order that was paid was billed, once." } else { "The shop FAILED." }
    );
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A service on the database, which stops with this program.
fn service(name: &str, database: &Database) -> Command {
    let program = std::env::current_exe().expect("Linux knows it");
    let mut command = Command::new(program.with_file_name("examples").join(name));
    command.env("DATABASE_URL", database.url()).env("PGAPPNAME", name).kill_on_drop(true);
    command
}

/// It has the terminal. Where there is none its lines are passed on, and the last one kept.
fn start_dashboard(database: &Database) -> (Child, Option<watch::Receiver<String>>) {
    let mut command = service("dashboard", database);
    if std::io::stdout().is_terminal() {
        return (command.spawn().expect("`make examples` made it"), None);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().expect("`make examples` made it");
    let output = child.stdout.take().expect("piped");
    let (sender, shown) = watch::channel(String::new());
    tokio::spawn(pass_on(output, sender));
    (child, Some(shown))
}

async fn pass_on(output: ChildStdout, last: watch::Sender<String>) {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.expect("it is UTF-8") {
        println!("{line}");
        last.send_replace(line);
    }
}

/// What it says would disturb the dashboard's picture.
fn start_billing(database: &Database) -> Child {
    let mut command = service("billing", database);
    if std::io::stdout().is_terminal() {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    command.spawn().expect("`make examples` made it")
}

/// Whether it ended as it should.
async fn stop(mut service: Child) -> bool {
    let pid = service.id().expect("it runs") as i32;
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    let ended = timeout(PATIENCE, service.wait()).await.expect("it stops");
    ended.expect("it was started here").success()
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn until(client: &Client, condition: &str) {
    let is_met = async {
        let mut pace = interval(Duration::from_millis(1));
        while !client.query_one(condition, &[]).await.expect("the server runs").get::<_, bool>(0) {
            pace.tick().await;
        }
    };
    timeout(PATIENCE, is_met).await.unwrap_or_else(|_| panic!("it never came to be: {condition}"));
}

async fn books(client: &Client) -> (i64, i64, i64) {
    let row = client.query_one(BOOKS, &[]).await.expect("the server runs");
    (row.get(0), row.get(1), row.get(2))
}
