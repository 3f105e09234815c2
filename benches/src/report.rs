//! What is printed, and `target/bench/results.json`.

use std::path::Path;

use serde::Serialize;

use crate::figures::{Figures, Unit};

/// One line of `results.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) candidate: String,
    pub(crate) unit: Unit,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// How many times as good as the best peer, as the median of the rounds: above 1 is better, for
    /// speeds and costs alike. None where there is no peer.
    pub(crate) ratio_to_best_peer: Option<f64>,
}

pub(crate) fn rows(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    for scenario in figures.scenarios() {
        let best = figures.best_peer(scenario);
        for figure in figures.of(scenario) {
            rows.push(Row {
                scenario: scenario.name(),
                candidate: figure.candidate.name.clone(),
                unit: scenario.unit,
                median: figure.median(),
                min: figure.min(),
                max: figure.max(),
                ratio_to_best_peer: best.map(|best| figure.ratio_to(best)),
            });
        }
    }
    rows
}

const SAMPLES: &str = "samples.json";

/// Writes the table, and of what it was made.
pub(crate) fn write(rows: &[Row], figures: &Figures, folder: &Path) {
    let write = |name, json: serde_json::Result<String>| {
        let json = json.expect("numbers and names") + "\n";
        std::fs::write(folder.join(name), json).expect("target/ can be written to");
    };
    write("results.json", serde_json::to_string_pretty(rows));
    write(SAMPLES, serde_json::to_string(figures));
}

pub(crate) fn read(folder: &Path) -> Figures {
    let json = std::fs::read_to_string(folder.join(SAMPLES)).expect("`make bench` has run");
    serde_json::from_str(&json).expect("`make bench` wrote it")
}

/// A table of one line a candidate under the name of each scenario.
pub(crate) fn print(rows: &[Row]) {
    for group in rows.chunk_by(|one, other| one.scenario == other.scenario) {
        println!("\n{} [{}]", group[0].scenario, group[0].unit.name());
        for row in group {
            let ratio = row.ratio_to_best_peer.map(|ratio| format!("{ratio:.2} x the best peer"));
            println!(
                "  {:<30}{:>12}   {:>10} to {:<10}  {}",
                row.candidate,
                number(row.median),
                number(row.min),
                number(row.max),
                ratio.unwrap_or_default()
            );
        }
    }
}

/// With three digits that mean something, at least.
pub(crate) fn number(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
