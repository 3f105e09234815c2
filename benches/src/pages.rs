//! The section of README.md and the page beside this program, made of the last run.

use std::fmt::Write as _;
use std::path::Path;

use notify_json_tests::project;

use crate::bars::{Verdict, verdicts};
use crate::environment::Environment;
use crate::report::{self, Row, number};

const BEGIN: &str = "<!-- measured: `make bench-docs` writes this -->";
const END: &str = "<!-- /measured -->";

/// Where the plots and the whole table are kept.
const FOLDER: &str = "benches/measured";

/// The plots that README.md shows.
const SHOWN: [&str; 3] = [
    "live small, throughput, 1,000 a transaction",
    "live real document, 10 connections, throughput",
    "live real document, room in the queue",
];

pub(crate) fn write(results: &Path) {
    let (figures, environment) = (report::read(results), Environment::read(results));
    let rows = report::rows(&figures);
    let folder = project().join(FOLDER);
    std::fs::create_dir_all(&folder).expect("the project can be written to");
    let mut plots = Vec::new();
    for file in std::fs::read_dir(results).expect("it was read from above") {
        let path = file.expect("it was read from above").path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            let name = path.file_name().expect("it is a file").to_owned();
            std::fs::copy(&path, folder.join(&name)).expect("the project can be written to");
            plots.push(name.into_string().expect("we named it"));
        }
    }
    plots.sort();
    let page = page(&rows, &environment, &plots);
    std::fs::write(folder.join("README.md"), page).expect("the project can be written to");

    let readme = project().join("README.md");
    let text = std::fs::read_to_string(&readme).expect("the project has one");
    let (before, rest) = text.split_once(BEGIN).expect("README.md says where it begins");
    let (_, after) = rest.split_once(END).expect("README.md says where it ends");
    let section = section(&rows, &verdicts(&figures), &environment);
    std::fs::write(&readme, format!("{before}{BEGIN}\n\n{section}\n{END}{after}"))
        .expect("the project can be written to");
}

/// What README.md shows: what was to be shown, what was lost, and some plots.
fn section(rows: &[Row], verdicts: &[Verdict], environment: &Environment) -> String {
    let mut text = conditions(environment);
    text += "\n| | asked for | measured | |\n|---|---|---|---|\n";
    for Verdict { scenario, demand, outcome } in verdicts {
        let (figure, word) = match outcome {
            Some((figure, met)) => (figure.as_str(), if *met { "met" } else { "**missed**" }),
            None => ("", "not measured"),
        };
        writeln!(text, "| {scenario} | {demand} | {figure} | {word} |").expect("in memory");
    }
    let lost =
        rows.iter().filter(|row| ours(row) && row.ratio_to_best_peer.is_some_and(|r| r < 0.95));
    let lost: Vec<String> = lost
        .map(|row| {
            let ratio = row.ratio_to_best_peer.unwrap_or_default();
            format!("- {}: {ratio:.2} × {}\n", row.scenario, best_peer(rows, row))
        })
        .collect();
    if !lost.is_empty() {
        text += "\nWhere a peer did better, by more than a twentieth:\n\n";
        text += &lost.concat();
    }
    for family in SHOWN {
        let file = crate::plot::file_name(family);
        write!(text, "\n![{family}]({FOLDER}/{file})\n").expect("in memory");
    }
    write!(text, "\n[{FOLDER}]({FOLDER}/README.md) has every figure and plot.\n")
        .expect("in memory");
    text
}

/// The whole table and all plots.
fn page(rows: &[Row], environment: &Environment, plots: &[String]) -> String {
    let mut text = String::from("# Measured\n\n");
    text += &conditions(environment);
    text += "\nEach with the least and the most. The last column is how many times as good as the\n\
             best peer, for speeds and costs alike.\n\n";
    text += "| scenario | candidate | median | from | to | | × best peer |\n";
    text += "|---|---|---:|---:|---:|---|---:|\n";
    for row in rows {
        let Row { scenario, candidate, unit, median, min, max, ratio_to_best_peer } = row;
        let ratio = ratio_to_best_peer.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let (median, min, max) = (number(*median), number(*min), number(*max));
        let unit = unit.name();
        writeln!(
            text,
            "| {scenario} | {candidate} | {median} | {min} | {max} | {unit} | {ratio} |"
        )
        .expect("in memory");
    }
    for plot in plots {
        write!(text, "\n![]({plot})\n").expect("in memory");
    }
    text
}

fn conditions(environment: &Environment) -> String {
    let Environment { processor, cores, kernel, postgres, versions, rounds, notes } = environment;
    let versions: Vec<String> =
        versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut text = format!(
        "On {cores} cores of {processor} with {kernel} and {postgres} with `fsync` on; {}.\n\
         Publishers, server and listeners share them. Figures and ratios are medians of {rounds}\n\
         rounds, in which all take turns.\n",
        versions.join(", ")
    );
    for note in notes {
        write!(text, "\nNote: {note}.\n").expect("in memory");
    }
    text
}

fn ours(row: &Row) -> bool {
    row.candidate == "notify_json"
}

fn best_peer<'a>(rows: &'a [Row], ours: &Row) -> &'a str {
    let is_best = |row: &&Row| row.scenario == ours.scenario && row.ratio_to_best_peer == Some(1.0);
    rows.iter().find(is_best).map_or("the best peer", |row| &row.candidate)
}
