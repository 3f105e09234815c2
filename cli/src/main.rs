//! `notify-json`: listen to and publish JSON through PostgreSQL.

mod acks;
mod connection;
mod listen;
mod log;
mod manage;
mod output;
mod print;
mod progress;
mod publish;
mod schema;
mod stop;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Listen to and publish JSON through PostgreSQL, with the notify_json extension.
///
/// Connects to --url, else to DATABASE_URL, else as psql does: as the PG* variables (PGHOST,
/// PGUSER, PGSSLMODE, …), a service file and ~/.pgpass say. RUST_LOG=debug logs what it does to standard error, without payloads.
#[derive(Parser)]
#[command(name = "notify-json", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, interrupted, or the reader of standard output is gone; 1 error; 2 usage; \
3 timeout; 4 gap, with --fail-on-gap.";

#[derive(Subcommand)]
enum Command {
    Listen(listen::Listen),
    Publish(publish::Publish),
    Channels(manage::Channels),
    Consumers(manage::Consumers),
    Seek(manage::Seek),
    Prune(manage::Prune),
    Schema(schema::Schema),
}

/// What is not an error itself, such as a `.pgpass` that others may read.
const QUIET: &str = "off,notify_json_client::connect=warn";

// A thread that prepares lines, and one that reads from the server.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIET)),
        )
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    let result = match arguments.command {
        Command::Listen(listen) => listen.run().await,
        Command::Publish(publish) => publish.run().await,
        Command::Channels(channels) => channels.run().await,
        Command::Consumers(consumers) => consumers.run().await,
        Command::Seek(seek) => seek.run().await,
        Command::Prune(prune) => prune.run().await,
        Command::Schema(schema) => schema.run().await,
    };
    match result {
        Ok(code) => code,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
