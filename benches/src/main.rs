//! `make bench`: notify_json beside what one would use instead, in one run on one server.

mod document;
mod durable;
mod figures;
mod live;
mod peers;
mod report;
mod rounds;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use notify_json_tests::{Server, ServerOptions, project};

use rounds::{Bench, Effort};

/// Measures notify_json beside what one would use instead.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only the groups of scenarios whose names contain one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Everything once and briefly, to see that it works; the figures mean nothing.
    #[arg(long)]
    quick: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments = Arguments::parse();
    let effort = match arguments.quick {
        false => Effort { rounds: 5, turn: Duration::from_millis(400) },
        true => Effort { rounds: 1, turn: Duration::from_millis(50) },
    };
    let folder: PathBuf = project().join("target/bench");
    std::fs::create_dir_all(&folder).expect("target/ can be written to");
    let mut bench = Bench::new(effort, arguments.only);

    let settings = [("max_wal_size", "8GB"), ("shared_buffers", "256MB")];
    let server = Server::start(&ServerOptions { settings: &settings, ..ServerOptions::default() });
    let database = server.database().await;
    database.execute(peers::TABLE).await;
    if bench.wants("live small") {
        live::small::run(&mut bench, &database).await;
    }
    if bench.wants("live large") {
        live::large::run(&mut bench, &database).await;
    }
    if bench.wants("live queue") {
        live::queue::run(&mut bench, &database).await;
    }
    if bench.wants("live stall") {
        live::stall::run(&mut bench, &database).await;
    }
    if bench.wants("fan-out") {
        live::fan_out::run(&mut bench, &database).await;
    }
    drop(server);
    if bench.wants("durable publish") || bench.wants("durable latency") || bench.wants("durable drain") {
        durable::run(&mut bench).await;
    }

    let rows = report::rows(&bench.figures);
    report::print(&rows);
    report::write(&rows, &folder);
    for note in &bench.notes {
        println!("\nNot measured: {note}");
    }
}
