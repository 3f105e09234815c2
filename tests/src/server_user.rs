//! The user that runs servers: PostgreSQL refuses to run as root.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::installation::without_connection;
use nix::unistd::{Uid, User, chown};

/// Another user than the current one, when that is root.
fn server_user() -> Option<User> {
    Uid::effective().is_root().then(|| {
        User::from_name("postgres")
            .ok()
            .flatten()
            .expect("PostgreSQL's package makes a user `postgres`")
    })
}

/// Gives a file or folder to the server's user.
pub fn own(path: &Path) {
    if let Some(user) = server_user() {
        chown(path, Some(user.uid), Some(user.gid)).expect("root may");
    }
}

/// A program of the server, run in a folder as the server's user.
pub(crate) fn as_server_user(program: &Path, folder: &Path) -> Command {
    let mut command = without_connection(Command::new(program));
    command.current_dir(folder).env_remove("RUST_BACKTRACE");
    if let Some(user) = server_user() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Runs a program to its end and shows its errors if it fails.
pub(crate) fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("bound").port()
}
