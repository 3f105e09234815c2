//! Large messages over a link of 1 Gbit/s and 1 ms.
//!
//! A process in a network namespace of its own starts a server there and slows its loopback down.
//! Publishers are beside the server, on its Unix socket.

use std::path::Path;
use std::process::{Command, Output};

use notify_json_tests::Database;
use serde::{Deserialize, Serialize};

use super::large::{Way, measure};
use crate::document::{Language, Reading};
use crate::figures::{Axis, Figures};
use crate::rounds::Bench;

/// What the process in the namespace hands back.
#[derive(Serialize, Deserialize)]
struct Outcome {
    figures: Figures,
    notes: Vec<String>,
}

/// Runs this program in a namespace, where root and the kernel allow it.
pub(crate) fn run(bench: &mut Bench, arguments: &[String]) {
    let file = tempfile::NamedTempFile::new().expect("there is a temporary folder");
    let program = std::env::current_exe().expect("this program is running");
    let mut command = Command::new("unshare");
    command.arg("--net").arg(program).arg("--slow-link").arg(file.path()).args(arguments);
    let failed = match command.status() {
        Ok(status) if status.success() => {
            let json = std::fs::read_to_string(file.path()).expect("it was written");
            let outcome: Outcome = serde_json::from_str(&json).expect("it was written by us");
            bench.figures.append(outcome.figures);
            bench.notes.extend(outcome.notes);
            return;
        }
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    bench
        .notes
        .push(format!("slow link: no network namespace, for `unshare --net` failed: {failed}"));
}

/// What the process in the namespace does.
pub(crate) async fn run_inside(mut bench: Bench, file: &Path) {
    match slow_down() {
        Ok(()) => {}
        Err(Slowed::Rate) => bench
            .notes
            .push("slow link: 1 Gbit/s, but no delay of 1 ms: this kernel has no netem".to_owned()),
        Err(Slowed::Not(error)) => {
            bench.notes.push(format!("slow link: not measured, for tc failed: {error}"));
            return hand_back(bench, file);
        }
    }
    let server = crate::start_server(&[]);
    let database = crate::database(&server).await;
    let name = database.url().rsplit('/').next().expect("a URL");
    let publishing = Database::at(format!(
        "host={} port={} user=postgres dbname={name}",
        server.socket_folder().display(),
        server.port()
    ));
    for connections in [1, 10] {
        let name = &format!("{} over a slow link", Axis::Connections.show(connections));
        let way = Way { name, database: &database, publishing: &publishing, connections };
        for size in [64_000, 1_000_000] {
            measure::<Vec<Language>>(&mut bench, &way, size, Reading::Text).await;
        }
    }
    hand_back(bench, file);
}

fn hand_back(bench: Bench, file: &Path) {
    let outcome = Outcome { figures: bench.figures, notes: bench.notes };
    let json = serde_json::to_string(&outcome).expect("numbers and names");
    std::fs::write(file, json).expect("whoever started us made it");
}

/// How far it came.
enum Slowed {
    Rate,
    Not(String),
}

/// Slows down the loopback of this namespace, in each direction by half of the delay.
fn slow_down() -> Result<(), Slowed> {
    run_command("ip", "link set lo up mtu 1500").map_err(Slowed::Not)?;
    if run_command("tc", "qdisc add dev lo root netem rate 1gbit delay 500us limit 10000").is_ok() {
        return Ok(());
    }
    run_command("tc", "qdisc add dev lo root tbf rate 1gbit burst 256kb limit 16mb")
        .map_err(Slowed::Not)?;
    Err(Slowed::Rate)
}

fn run_command(program: &str, arguments: &str) -> Result<(), String> {
    let output = Command::new(program).args(arguments.split(' ')).output();
    match output {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(Output { stderr, .. }) => Err(String::from_utf8_lossy(&stderr).trim().to_owned()),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
