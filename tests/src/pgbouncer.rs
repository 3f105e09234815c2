//! PgBouncer before a server.

use std::fmt::Write;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::database::Database;
use crate::installation::pgbouncer;
use crate::server::Server;
use crate::server_user::own;
use crate::supervised::Supervised;

/// A running PgBouncer. It is stopped when it is dropped or the process ends.
///
/// It listens on a Unix socket in a folder of its own, since somebody else could take a port
/// between its death and its restart.
pub struct PgBouncer {
    program: Supervised,
    folder: TempDir,
}

const READY: &str = "process up";
/// The port is part of the socket's name.
const PORT: u16 = 6432;

impl PgBouncer {
    /// Starts one before a server, with settings such as `("pool_mode", "session")`.
    pub fn start(server: &Server, settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("notify_json-").expect("there is a temporary folder");
        let mut content = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={} user=postgres\n\
             [pgbouncer]\n\
             auth_type = any\n\
             listen_port = {PORT}\n\
             unix_socket_dir = {}\n",
            server.port(),
            folder.path().display()
        );
        for (name, value) in settings {
            writeln!(content, "{name} = {value}").expect("writing to memory");
        }
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, content).expect("there is room");
        own(folder.path());
        own(&file);
        let program =
            Supervised::start(Command::new(pgbouncer()).arg(&file), folder.path(), Signal::SIGKILL);
        program.wait_until(|log| ["FATAL", READY].iter().any(|text| log.contains(text)));
        let log = program.log();
        assert!(log.contains(READY), "PgBouncer does not start: {log}");
        Self { program, folder }
    }

    /// A database of the server through it.
    pub fn database(&self, database: &Database) -> Database {
        let (_, name) = database.url().rsplit_once('/').expect("it names a database");
        let folder = self.folder.path().display();
        Database::at(format!("postgres://postgres@/{name}?host={folder}&port={PORT}"))
    }

    /// Kills it, and all connections through it.
    pub fn kill(&self) {
        self.program.stop_program();
    }

    /// Starts it again after it was killed.
    pub fn restart(&self) {
        self.program.start_program(READY);
    }
}
