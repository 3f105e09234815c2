//! The programs under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The root of the checkout.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project")
}

/// A command that runs the project's `notify-json`.
pub fn notify_json() -> Command {
    program("notify-json")
}

/// A command that runs `soak`.
pub fn soak() -> Command {
    program("soak")
}

/// A command that runs `shop`, which runs the client's examples.
pub fn shop() -> Command {
    make(&["--silent", "examples"]);
    program("shop")
}

/// A program built for release, in an environment that names no server.
fn program(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        make(&["--silent", "build"]);
        project().join("target/release")
    });
    without_connection(Command::new(folder.join(name)))
}

/// Makes a target of the project's Makefile.
pub fn make(arguments: &[&str]) {
    run(Command::new("make").args(arguments));
}

/// The command without the variables that tell it where and how to connect.
pub(crate) fn without_connection(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env_remove("DATABASE_URL");
    command
}

/// A command that runs `psql` against a connection string.
pub fn psql(url: &str) -> Command {
    let mut command = without_connection(Command::new(programs().join("psql")));
    command.args(["--no-psqlrc", "--set", "ON_ERROR_STOP=1", url]);
    command
}

/// The SQL that `pg_dump` makes of a database, without the commands that are `psql`'s.
pub fn pg_dump(url: &str) -> String {
    let mut command = without_connection(Command::new(programs().join("pg_dump")));
    let output = command.args(["--inserts", url]).output().expect("it is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dump = String::from_utf8(output.stdout).expect("the database is in UTF-8");
    dump.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")
}

/// Where the programs of the private PostgreSQL are, with the extension installed beside them.
pub(crate) fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| run(&mut Command::new("scripts/private-postgres.sh")).into())
}

/// Where these programs are, with whatever extension was last installed beside them.
pub(crate) fn programs_as_they_are() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS
        .get_or_init(|| run(Command::new("scripts/private-postgres.sh").arg("--no-install")).into())
}

/// PgBouncer, the system's or a private copy.
pub(crate) fn pgbouncer() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| run(&mut Command::new("scripts/private-pgbouncer.sh")).into())
}

/// A folder for private servers, which their user can enter.
pub(crate) fn private_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| run(&mut Command::new("scripts/private-folder.sh")).into())
}

/// Runs a command of the project to its end and returns its output.
///
/// It does not see the package that `cargo test` describes to this process: build scripts depend
/// on those variables, and a build with them and one without would each undo the other.
fn run(command: &mut Command) -> String {
    for (name, _) in std::env::vars_os() {
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b"CARGO_PKG_") || bytes.starts_with(b"CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(project())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("paths are UTF-8").trim_end().to_owned()
}
