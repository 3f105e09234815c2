//! A server that outlives the program that started it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::installation::{private_folder, programs, programs_as_they_are};
use crate::server_user::{as_server_user, free_port, own, run};

/// A server in `target/`, or for root under `/var/tmp` where the server's user cannot enter it.
pub struct PersistentServer {
    url: String,
}

impl PersistentServer {
    /// Starts a new server under this name, after stopping an earlier one.
    pub fn start(name: &str) -> Self {
        Self::stop(name);
        let folder = folder(name);
        let (data, log, secret) =
            (folder.join("data"), folder.join("log"), folder.join("password"));
        let password = password();
        fs::create_dir_all(&folder).expect("target/ is writable");
        fs::write(&secret, &password).expect("target/ is writable");
        own(&folder);
        own(&secret);
        run(as_server_user(&programs().join("initdb"), &folder)
            .args(["--no-sync", "--auth=scram-sha-256", "--username=postgres"])
            .args(["--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .arg("--pwfile")
            .arg(&secret));
        let port = free_port();
        run(pg_ctl(&folder, "start").arg("--log").arg(log).arg("--options").arg(format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp"
        )));
        Self { url: format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres") }
    }

    /// Stops the server of this name, if it runs, and removes its folder.
    pub fn stop(name: &str) {
        let folder = folder(name);
        if is_running(&folder) {
            run(pg_ctl(&folder, "stop").args(["--mode", "fast"]));
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("it was made here");
        }
    }

    /// Its connection string, with the password.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn folder(name: &str) -> PathBuf {
    private_folder().join(name)
}

/// Whether this folder's own server runs: a copy of the folder, or one left by a crash, names a
/// process that is not.
fn is_running(folder: &Path) -> bool {
    let data = folder.join("data");
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    file.lines().nth(1).map(Path::new) == Some(&data)
        && pg_ctl(folder, "status").output().is_ok_and(|output| output.status.success())
}

fn pg_ctl(folder: &Path, action: &str) -> std::process::Command {
    let mut command = as_server_user(&programs_as_they_are().join("pg_ctl"), folder);
    command.args([action, "--silent", "--pgdata"]).arg(folder.join("data"));
    command
}

/// Other users of the machine can reach the port, so it takes more than knowing it.
fn password() -> String {
    let mut bytes = [0; 16];
    let mut random = fs::File::open("/dev/urandom").expect("Unix has it");
    std::io::Read::read_exact(&mut random, &mut bytes).expect("it never ends");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
