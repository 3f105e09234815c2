//! `make bench`: notify_json beside what one would use instead, in one run on one server.

mod bars;
mod document;
mod durable;
mod environment;
mod figures;
mod live;
mod pages;
mod peers;
mod plot;
mod report;
mod rounds;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use notify_json_tests::{Database, Server, ServerOptions, project};

use environment::Environment;
use rounds::{Bench, Effort};

/// Measures notify_json beside what one would use instead, and writes target/bench/.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the groups of scenarios whose names contain one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Everything once and briefly, to see that it works; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Measures nothing: writes the last run's figures and plots into README.md and benches/.
    #[arg(long)]
    docs: bool,
    /// The part of it that runs in a network namespace, and where its figures go.
    #[arg(long, hide = true)]
    slow_link: Option<PathBuf>,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let Arguments { only, quick, docs, slow_link } = Arguments::parse();
    let folder = project().join("target/bench");
    if docs {
        return pages::write(&folder);
    }
    let effort = match quick {
        false => Effort { rounds: 5, turn: Duration::from_millis(250) },
        true => Effort { rounds: 1, turn: Duration::from_millis(20) },
    };
    let mut bench = Bench::new(effort, only);
    if let Some(file) = slow_link {
        return live::slow_link::run_inside(bench, &file).await;
    }
    let postgres = measure(&mut bench, quick).await;
    println!("Measured in {:.0} s.", bench.started.elapsed().as_secs_f64());
    show(bench, postgres, &folder);
}

/// Runs what is wanted, and returns the server's version.
async fn measure(bench: &mut Bench, quick: bool) -> String {
    if bench.begins("wire") {
        wire::run(bench).await;
    }
    let server = start_server(&[]);
    let database = database(&server).await;
    if bench.begins("live small") {
        live::small::run(bench, &database).await;
    }
    if bench.begins("live large") {
        live::large::run(bench, &database).await;
    }
    if bench.begins("live queue") {
        live::queue::run(bench, &database).await;
    }
    if bench.begins("live stall") {
        live::stall::run(bench, &database).await;
    }
    if bench.begins("live slow link") {
        let quick = if quick { vec!["--quick".to_owned()] } else { Vec::new() };
        live::slow_link::run(bench, &quick);
    }
    if bench.begins("fan-out") {
        live::fan_out::run(bench, &database).await;
    }
    durable::run(bench).await;
    let client = database.connect().await;
    let version = "SELECT 'PostgreSQL ' || current_setting('server_version')";
    client.query_one(version, &[]).await.expect("the server runs").get(0)
}

/// A server that keeps what it has committed, as in production; that of the tests need not.
fn start_server(more: &[(&str, &str)]) -> Server {
    let mut settings = vec![
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("max_wal_size", "8GB"),
        ("shared_buffers", "256MB"),
    ];
    settings.extend(more);
    Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() })
}

/// A database for live channels.
async fn database(server: &Server) -> Database {
    let database = server.database().await;
    database.execute(peers::TABLE).await;
    database
}

fn show(bench: Bench, postgres: String, folder: &Path) {
    // Plots of an earlier run would pass for plots of this one.
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("target/ can be written to");
    }
    std::fs::create_dir_all(folder).expect("target/ can be written to");
    let rows = report::rows(&bench.figures);
    report::print(&rows);
    bars::print(&bars::verdicts(&bench.figures));
    for note in &bench.notes {
        println!("\nNote: {note}.");
    }
    report::write(&rows, &bench.figures, folder);
    plot::draw(&bench.figures, folder);
    Environment::new(postgres, bench).write(folder);
    println!("\n{} has the figures and plots.", folder.display());
}
