//! What the benchmark must show.

use crate::figures::Figures;
use crate::report::number;

const OURS: &str = "notify_json";
const RAW: &str = "raw tokio-postgres";
const PUBLISH: &str = "durable publish, one live consumer, 16 writers";
const DRAIN: &str = "durable drain, 100 B, 100,000 events";

/// One requirement, on one scenario.
struct Bar {
    scenario: &'static str,
    demand: Demand,
}

enum Demand {
    /// At least so many times as good as a peer.
    Ratio {
        to: To,
        least: f64,
    },
    /// At least, or at most, this much.
    AtLeast(f64),
    AtMost(f64),
}

enum To {
    BestPeer,
    Candidate(&'static str),
}

const fn ratio(scenario: &'static str, to: To, least: f64) -> Bar {
    Bar { scenario, demand: Demand::Ratio { to, least } }
}

const BARS: &[Bar] = &[
    ratio("live small, throughput, 1 a transaction of 100 B, 4 writers", To::BestPeer, 0.95),
    ratio("live small, throughput, 1 a transaction of 1 kB, 4 writers", To::BestPeer, 0.95),
    ratio("live small, throughput, 1,000 a transaction, 100 B", To::BestPeer, 0.95),
    ratio("live small, throughput, 1,000 a transaction, 1 kB", To::BestPeer, 0.95),
    ratio("live small, latency p50 at 1,000/s, 100 B", To::BestPeer, 0.95),
    ratio("live small, latency p50 at 1,000/s, 1 kB", To::BestPeer, 0.95),
    ratio("live real document, 1 connection, throughput, 1 MB", To::Candidate(RAW), 1.2),
    ratio("live real document, room in the queue, 1 MB", To::Candidate(RAW), 4.0),
    ratio("live real document, 10 connections, throughput, 1 MB", To::Candidate(RAW), 3.0),
    ratio(
        "live real document, 1 connection over a slow link, throughput, 1 MB",
        To::Candidate(RAW),
        4.0,
    ),
    ratio(
        "live real document, 10 connections over a slow link, throughput, 1 MB",
        To::Candidate(RAW),
        4.0,
    ),
    ratio("live incompressible, 1 connection, throughput, 1 MB", To::Candidate(RAW), 0.95),
    ratio("live real document, stall of other commits, p99, 1 MB", To::Candidate(RAW), 2.0),
    ratio(PUBLISH, To::Candidate("INSERT alone"), 0.8),
    ratio(PUBLISH, To::Candidate("INSERT + pg_notify"), 3.0),
    ratio(PUBLISH, To::Candidate("PgQ"), 1.0),
    ratio("durable publish, nobody attending, 1 writer", To::Candidate("INSERT alone"), 0.95),
    ratio("durable publish, nobody attending, 16 writers", To::Candidate("INSERT alone"), 0.95),
    Bar { scenario: "durable latency p50, 4 writers, 1,000/s", demand: Demand::AtMost(2.0) },
    Bar { scenario: "durable latency p99, 4 writers, 1,000/s", demand: Demand::AtMost(20.0) },
    Bar { scenario: DRAIN, demand: Demand::AtLeast(150_000.0) },
    ratio(DRAIN, To::Candidate("PgQ"), 1.2),
    Bar {
        scenario: "fan-out in one process, 100 B, all decode it, 10,000 subscriptions",
        demand: Demand::AtMost(20.0),
    },
    Bar { scenario: "wire, split, json, 1 MB", demand: Demand::AtLeast(4.0) },
    Bar { scenario: "wire, join, json, 1 MB", demand: Demand::AtLeast(4.0) },
    Bar { scenario: "wire, allocations of join, json, 1 MB", demand: Demand::AtMost(3.0) },
];

/// What became of one requirement.
pub(crate) struct Verdict {
    pub(crate) scenario: &'static str,
    pub(crate) demand: String,
    /// None if it was not measured.
    pub(crate) outcome: Option<(String, bool)>,
}

pub(crate) fn verdicts(figures: &Figures) -> Vec<Verdict> {
    BARS.iter()
        .map(|bar| Verdict {
            scenario: bar.scenario,
            demand: bar.demand.to_string(),
            outcome: bar.judge(figures),
        })
        .collect()
}

impl Bar {
    fn judge(&self, figures: &Figures) -> Option<(String, bool)> {
        let scenario =
            figures.scenarios().into_iter().find(|scenario| scenario.name() == self.scenario)?;
        let of = |name| figures.of(scenario).find(|figure| figure.candidate.name == name);
        let ours = of(OURS)?;
        let shown = format!("{} {}", number(ours.median()), scenario.unit.name());
        Some(match &self.demand {
            Demand::Ratio { to, least } => {
                let ratio = ours.ratio_to(match to {
                    To::BestPeer => figures.best_peer(scenario)?,
                    To::Candidate(name) => of(name)?,
                });
                (format!("{ratio:.2} x"), ratio >= *least)
            }
            Demand::AtLeast(least) => (shown, ours.median() >= *least),
            Demand::AtMost(most) => (shown, ours.median() <= *most),
        })
    }
}

impl std::fmt::Display for Demand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ratio { to: To::BestPeer, least } => write!(f, "{least} x the best peer"),
            Self::Ratio { to: To::Candidate(name), least } => write!(f, "{least} x {name}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

/// One line a requirement.
pub(crate) fn print(verdicts: &[Verdict]) {
    println!("\nWhat it must show, as times as good:");
    for Verdict { scenario, demand, outcome } in verdicts {
        let (figure, word) = match outcome {
            Some((figure, true)) => (figure.as_str(), "met"),
            Some((figure, false)) => (figure.as_str(), "MISSED"),
            None => ("", "not measured"),
        };
        println!("  {word:<13}{scenario}: {demand}; {figure}");
    }
}
