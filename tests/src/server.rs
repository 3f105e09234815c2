//! A PostgreSQL server in a folder of its own.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::database::Database;
use crate::installation::programs;
use crate::server_user::{as_server_user, free_port, own, run};
use crate::supervised::Supervised;

/// A running server. It is stopped and its folder removed when it is dropped or the process ends.
pub struct Server {
    program: Supervised,
    folder: TempDir,
    port: u16,
    databases: AtomicU32,
}

/// How a server is made.
#[derive(Default)]
pub struct ServerOptions<'a> {
    /// Settings beside the defaults of the tests, such as `("max_connections", "10")`.
    pub settings: &'a [(&'a str, &'a str)],
    /// Makes it a hot standby of this server.
    pub standby_of: Option<&'a Server>,
}

const READY: &str = "ready to accept";

const SETTINGS: [(&str, &str); 8] = [
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "200"),
    ("max_prepared_transactions", "10"),
    ("shared_buffers", "32MB"),
    ("lc_messages", "C"),
    ("timezone", "UTC"),
];

impl Server {
    /// The server that the tests of a process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&ServerOptions::default()))
    }

    /// Starts a new server.
    pub fn start(options: &ServerOptions<'_>) -> Self {
        loop {
            if let Some(server) = Self::start_on(free_port(), options) {
                return server;
            }
        }
    }

    /// `None` if somebody else has taken the port meanwhile.
    fn start_on(port: u16, options: &ServerOptions<'_>) -> Option<Self> {
        let folder = TempDir::with_prefix("notify_json-").expect("there is a temporary folder");
        own(folder.path());
        let data = folder.path().join("data");
        match options.standby_of {
            None => run(as_server_user(&programs().join("initdb"), folder.path())
                .args(["--no-sync", "--auth=trust", "--username=postgres"])
                .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
                .arg(&data)),
            Some(primary) => run(as_server_user(&programs().join("pg_basebackup"), folder.path())
                .args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--dbname"])
                .arg(primary.url("postgres"))
                .arg("--pgdata")
                .arg(&data)),
        }
        let mut command = Command::new(programs().join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(folder.path());
        command.args(["-p", &port.to_string()]);
        for (name, value) in SETTINGS.iter().chain(options.settings) {
            command.args(["-c", &format!("{name}={value}")]);
        }
        let program = Supervised::start(&command, folder.path(), Signal::SIGQUIT);
        let ended = ["database system is shut down", "FATAL"];
        program.wait_until(|log| log.contains(READY) || ended.iter().any(|end| log.contains(end)));
        let log = program.log();
        if log.contains("could not bind") {
            return None;
        }
        assert!(log.contains(READY), "the server does not start: {log}");
        Some(Self { program, folder, port, databases: AtomicU32::new(0) })
    }

    /// The connection string of a database, over TCP as the superuser `postgres`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// Waits until it has logged something that contains this text.
    pub fn wait_for_log(&self, text: &str) {
        self.program.wait_until(|log| log.contains(text));
    }

    /// Stops it in the mode of the signal: SIGTERM is smart, SIGINT fast, SIGQUIT immediate.
    pub fn stop(&self, mode: Signal) {
        let _ = kill(self.postmaster(), mode);
        self.wait_for_log("database system is shut down");
    }

    /// Crashes it, as `pg_ctl stop -m immediate` does, and waits until it runs again.
    pub fn crash_and_restart(&self) {
        self.program.stop_program();
        self.program.start_program(READY);
    }

    fn postmaster(&self) -> Pid {
        let file = self.folder.path().join("data/postmaster.pid");
        let content = std::fs::read_to_string(file).expect("it is running");
        Pid::from_raw(content.lines().next().expect("its pid").parse().expect("a number"))
    }

    /// Sends a signal to it and to all of its processes.
    pub fn signal(&self, signal: Signal) {
        let postmaster = self.postmaster();
        let _ = kill(postmaster, signal);
        for process in std::fs::read_dir("/proc").expect("Linux has it").flatten() {
            let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            // pid (name) state parent ...
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
            if parent == Some(&postmaster.to_string()) {
                let pid = stat.split(' ').next().expect("its pid").parse().expect("a number");
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }

    /// A new database with the extension.
    pub async fn database(&self) -> Database {
        self.database_with_encoding("UTF8").await
    }

    /// A new database of an encoding, with the extension.
    pub async fn database_with_encoding(&self, encoding: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let postgres = Database::at(self.url("postgres"));
        postgres
            .execute(&format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
            ))
            .await;
        let database = Database::at(self.url(&name));
        database.execute("CREATE EXTENSION notify_json").await;
        database
    }
}
