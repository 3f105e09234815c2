//! A PostgreSQL server in a folder of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::database::Database;
use crate::installation::programs;
use crate::server_user::{as_server_user, free_port, own, run};

/// A running server. It is stopped and its folder removed when it is dropped or the process ends.
pub struct Server {
    folder: TempDir,
    port: u16,
    log: Arc<Log>,
    /// Closing it tells the supervisor to stop the server.
    alive: Mutex<ChildStdin>,
    _supervisor: Child,
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

/// Starts the server, restarts it after a crash at every line of standard input, and stops it when
/// that closes, which the end of the process that holds the other end brings about even when it is
/// killed.
const SUPERVISOR: &str = r#"
"$@" & server=$!
while read -r restart; do
    kill -QUIT $server; wait $server
    "$@" & server=$!
done
kill -CONT $server; kill -QUIT $server; wait $server
rm -rf "$FOLDER"
"#;

const READY: &str = "ready to accept";

/// What the server has written to its log.
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Log {
    fn add(&self, line: &str) {
        let mut text = self.text.lock().expect("no panic while locked");
        text.push_str(line);
        text.push('\n');
        self.grown.notify_all();
    }

    fn wait_until(&self, condition: impl Fn(&str) -> bool) {
        let text = self.text.lock().expect("no panic while locked");
        drop(self.grown.wait_while(text, |text| !condition(text)).expect("no panic while locked"));
    }
}

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
        Self::launch(folder, &data, options.settings)
    }

    fn launch(folder: TempDir, data: &Path, settings: &[(&str, &str)]) -> Self {
        loop {
            let port = free_port();
            let mut command = as_server_user(Path::new("sh"), folder.path());
            command.args(["-c", SUPERVISOR, "supervisor"]).arg(programs().join("postgres"));
            command.arg("-D").arg(data).arg("-k").arg(folder.path()).arg("-p");
            command.arg(port.to_string());
            for (name, value) in SETTINGS.iter().chain(settings) {
                command.arg("-c").arg(format!("{name}={value}"));
            }
            let mut supervisor = command
                .env("FOLDER", folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("sh runs");
            let alive = supervisor.stdin.take().expect("piped");
            let mut lines = BufReader::new(supervisor.stderr.take().expect("piped")).lines();
            let mut log = String::new();
            let ready = loop {
                let Some(Ok(line)) = lines.next() else {
                    break false;
                };
                log += &(line + "\n");
                if log.contains(READY) {
                    break true;
                }
                if log.contains("database system is shut down") || log.contains("FATAL") {
                    break false;
                }
            };
            if !ready && log.contains("could not bind") {
                continue;
            }
            assert!(ready, "the server does not start: {log}");
            let log = Arc::new(Log { text: Mutex::new(log), grown: Condvar::new() });
            let shared_log = log.clone();
            thread::spawn(move || lines.map_while(Result::ok).for_each(|l| shared_log.add(&l)));
            return Self {
                folder,
                port,
                log,
                alive: Mutex::new(alive),
                _supervisor: supervisor,
                databases: AtomicU32::new(0),
            };
        }
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
        self.log.text.lock().expect("no panic while locked").clone()
    }

    /// Crashes it, as `pg_ctl stop -m immediate` does, and waits until it runs again.
    pub fn crash_and_restart(&self) {
        let starts = self.log().matches(READY).count();
        writeln!(self.alive.lock().expect("no panic while locked"), "restart")
            .expect("the supervisor listens");
        self.log.wait_until(|log| log.matches(READY).count() > starts);
    }

    /// Sends a signal to it and to all of its processes.
    pub fn signal(&self, signal: Signal) {
        let file = self.folder.path().join("data/postmaster.pid");
        let content = std::fs::read_to_string(file).expect("it is running");
        let postmaster: i32 = content.lines().next().expect("its pid").parse().expect("a number");
        let _ = kill(Pid::from_raw(postmaster), signal);
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
