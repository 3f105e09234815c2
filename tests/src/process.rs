//! Child processes whose output is waited for.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running program, killed when dropped.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    /// Starts a program.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            stdin: child.stdin.take(),
            stdout: lines(child.stdout.take().expect("piped")),
            stderr: lines(child.stderr.take().expect("piped")),
            child,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(text.as_bytes()).expect("the program reads its input");
        stdin.flush().expect("the program reads its input");
    }

    /// The next line of its standard output, without the line feed. Waits for it.
    pub fn line(&mut self) -> String {
        self.stdout.recv().unwrap_or_else(|_| panic!("no more output: {}", self.errors()))
    }

    /// Waits for a line of its standard error that contains `text`.
    pub fn wait_for_error_line(&mut self, text: &str) -> String {
        let mut seen = String::new();
        while let Ok(line) = self.stderr.recv() {
            if line.contains(text) {
                return line;
            }
            seen += &line;
        }
        panic!("{text:?} never came: {seen}");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("the program is running");
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(self) {}

    /// Waits for its end; returns its exit code and the rest of its output and errors.
    pub fn finish(mut self) -> (Option<i32>, String, String) {
        self.stdin = None;
        let output = self.stdout.iter().map(|line| line + "\n").collect();
        let errors = self.errors();
        let status: ExitStatus = self.child.wait().expect("started here");
        (status.code(), output, errors)
    }

    fn errors(&self) -> String {
        self.stderr.iter().map(|line| line + "\n").collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream, read as they come so that the writer never waits.
fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A process's own memory in bytes: what it holds now, and the most it ever held. The server's shared
/// memory and the pages of programs are not its own: how much of them it has touched depends on what
/// all others do.
pub fn memory(pid: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is running");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
        let kilobytes: u64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect(line);
        kilobytes * 1024
    };
    let shared = field("RssShmem:") + field("RssFile:");
    (field("VmRSS:") - shared, field("VmHWM:") - shared)
}
