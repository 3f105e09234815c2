//! `make soak`: long runs that prove what the short tests show.
//!
//! - `soak faults COUNT SEED`: random faults under steady traffic.
//! - `soak sleeper URL`: a subscriber of channel `c` that never reads, with a bound of 8 MiB, beside
//!   one that reads until `"end"`; it stays until its input ends, for tests that watch its memory.
//! - `soak slow-reader COUNT`: a subscriber that never reads, beside one that does.
//! - `soak durable EVENTS HITS SEED`: a durable channel, whose consumer and server are hit.
//! - `soak durable-consumer URL`: its consumer.
//! - `soak drain EVENTS`: how fast a consumer reads what it has missed.
//! - `soak retention HOURS`: how much space the log takes, in simulated time.
//! - `soak mirror RUNS SEED`: random tables, mirrored from their events.
//! - `soak watch ROWS ROUNDS`: what row changes cost, beside other triggers.
//! - `soak contract SECONDS`: what a contract costs, on one core.

mod contract;
mod drain;
mod durable;
mod faults;
mod mirror;
mod retention;
mod sleeper;
mod slow_reader;
mod watch;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["faults", count, seed] => faults::run(number(count), number(seed)).await,
        ["slow-reader", count] => slow_reader::run(number(count)).await,
        ["sleeper", url] => sleeper::run(url).await,
        ["durable", events, hits, seed] => {
            durable::run(number(events), number(hits), number(seed)).await;
        }
        ["durable-consumer", url] => durable::consume(url).await,
        ["drain", events] => drain::run(number(events) as i64).await,
        ["retention", hours] => retention::run(number(hours) as u32).await,
        ["mirror", runs, seed] => mirror::run(number(runs), number(seed)).await,
        ["watch", rows, rounds] => watch::run(number(rows), number(rounds)).await,
        ["contract", seconds] => contract::run(number(seconds)).await,
        _ => panic!("usage: as the first lines of tests/src/bin/soak/main.rs say"),
    }
}

fn number(argument: &str) -> u64 {
    argument.parse().unwrap_or_else(|_| panic!("{argument} is not a number"))
}
