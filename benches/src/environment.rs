//! On what it was measured.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::rounds::Bench;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) postgres: String,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) rounds: usize,
    /// What was not measured, or not as asked, and why.
    pub(crate) notes: Vec<String>,
}

const LOCK: &str = include_str!("../Cargo.lock");
const PEERS: [&str; 3] = ["tokio-postgres", "sqlx", "pgpubsub"];

impl Environment {
    pub(crate) fn new(postgres: String, bench: Bench) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let processor = processor.lines().find_map(|line| line.strip_prefix("model name"));
        let kernel = Command::new("uname").args(["-s", "-r", "-m"]).output();
        let kernel = kernel.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let mut versions = PEERS.map(|name| (name.to_owned(), version(name))).to_vec();
        versions.extend(bench.versions);
        Self {
            processor: processor
                .unwrap_or_default()
                .trim_start_matches(['\t', ' ', ':'])
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(0, |cores| cores.get()),
            kernel: kernel.unwrap_or_default(),
            postgres,
            versions,
            rounds: bench.effort.rounds,
            notes: bench.notes,
        }
    }

    pub(crate) fn write(&self, folder: &Path) {
        let json = serde_json::to_string_pretty(self).expect("texts");
        std::fs::write(folder.join(FILE), json + "\n").expect("target/ can be written to");
    }

    pub(crate) fn read(folder: &Path) -> Self {
        let json = std::fs::read_to_string(folder.join(FILE)).expect("`make bench` has run");
        serde_json::from_str(&json).expect("`make bench` wrote it")
    }
}

const FILE: &str = "environment.json";

fn version(package: &str) -> String {
    let name = format!("name = \"{package}\"\nversion = \"");
    let rest = LOCK.split_once(&name).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default().to_owned()
}
