//! A server's program that ends with this process, however that ends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use nix::sys::signal::Signal;

use crate::server_user::as_server_user;

/// A program in a folder, run by a shell that stops it and removes the folder when this is dropped.
pub(crate) struct Supervised {
    log: Arc<Log>,
    /// The commands of the shell. It also closes when this process is killed.
    commands: Mutex<ChildStdin>,
}

const SUPERVISOR: &str = r#"
"$@" & server=$!
while read -r command; do
    case $command in
        stop) kill -s $STOP $server; wait $server ;;
        start) "$@" & server=$! ;;
    esac
done
# Nobody reads its errors any more, so to report a death would be its own.
exec 2>/dev/null
kill -s CONT $server; kill -s $STOP $server; wait $server
rm -rf "$FOLDER"
"#;

/// What the program has written to its standard error.
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Supervised {
    /// Starts a program as the servers' user. `stop` is the signal that ends it.
    pub(crate) fn start(program: &Command, folder: &Path, stop: Signal) -> Self {
        let mut supervisor = as_server_user(Path::new("sh"), folder)
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(program.get_program())
            .args(program.get_args())
            .env("FOLDER", folder)
            .env("STOP", stop.as_str().trim_start_matches("SIG"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let commands = supervisor.stdin.take().expect("piped");
        let errors = BufReader::new(supervisor.stderr.take().expect("piped"));
        let log = Arc::new(Log { text: Mutex::default(), grown: Condvar::new() });
        let read = log.clone();
        thread::spawn(move || {
            errors.lines().map_while(Result::ok).for_each(|line| read.add(&line));
            // Ended, so that nobody may wait for it.
            let _ = supervisor.wait();
        });
        Self { log, commands: Mutex::new(commands) }
    }

    /// Stops the program.
    pub(crate) fn stop_program(&self) {
        self.command("stop");
    }

    /// Starts the program again after it was stopped, and waits until its log has one more line
    /// that contains `ready`.
    pub(crate) fn start_program(&self, ready: &str) {
        let starts = self.log().matches(ready).count();
        self.command("start");
        self.wait_until(|log| log.matches(ready).count() > starts);
    }

    fn command(&self, command: &str) {
        let mut commands = self.commands.lock().expect("no panic while locked");
        writeln!(commands, "{command}").expect("the supervisor listens");
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().expect("no panic while locked").clone()
    }

    /// Waits until the condition holds for what it has logged.
    pub(crate) fn wait_until(&self, condition: impl Fn(&str) -> bool) {
        let text = self.log.text.lock().expect("no panic while locked");
        let waiting = |text: &mut String| !condition(text);
        drop(self.log.grown.wait_while(text, waiting).expect("no panic while locked"));
    }
}

impl Log {
    fn add(&self, line: &str) {
        let mut text = self.text.lock().expect("no panic while locked");
        text.push_str(line);
        text.push('\n');
        self.grown.notify_all();
    }
}
