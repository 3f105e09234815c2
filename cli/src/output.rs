//! Standard output, written by a thread of its own: who reads it slowly, or not at all, holds up
//! nothing else. And standard error.

use std::fs::File;
use std::future::{Future, pending};
use std::io::{self, ErrorKind, Write};
use std::mem::take;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::{mpsc, oneshot, watch};

use crate::progress::beside;

/// Takes what is printed, and has it written in this order.
pub(crate) struct Output {
    /// What the thread has not been given yet.
    buffer: Vec<u8>,
    /// Bytes ever printed.
    printed: u64,
    /// Whether the last thing that `next` said is that all of them are written.
    is_written: bool,
    batches: mpsc::Sender<Vec<u8>>,
    written: watch::Receiver<u64>,
    thread: JoinHandle<io::Result<()>>,
}

/// What comes next for a program that prints.
pub(crate) enum Next<T> {
    /// Something to print.
    Item(T),
    /// Nothing for the moment, and all that was printed is written.
    Written,
    /// Nothing will be written any more; [`Output::finish`] says why.
    Over,
}

/// Nothing more is printed while so much waits for the thread, which has as much in its hands.
const MAX_BUFFER_BYTES: usize = 64 << 10;

impl Output {
    /// Writes until told to `hurry`: then only as long as somebody reads.
    pub(crate) fn start(hurry: Arc<AtomicBool>) -> io::Result<Self> {
        let (batches, receiver) = mpsc::channel(1);
        let (sender, written) = watch::channel(0);
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let writer = Writer { stdout, batches: receiver, written: sender, hurry };
        let thread = thread::Builder::new().spawn(|| writer.run())?;
        Ok(Self { buffer: Vec::new(), printed: 0, is_written: true, batches, written, thread })
    }

    /// Bytes ever printed.
    pub(crate) fn printed(&self) -> u64 {
        self.printed
    }

    /// How many of them are written.
    pub(crate) fn written(&self) -> u64 {
        *self.written.borrow()
    }

    /// Whether [`next`](Self::next) has said that all of them are, and nothing since.
    pub(crate) fn is_written(&self) -> bool {
        self.is_written
    }

    /// Waits for the next thing to print, and has written meanwhile what is printed.
    pub(crate) async fn next<T>(&mut self, item: impl Future<Output = T>) -> Next<T> {
        let mut item = pin!(item);
        loop {
            tokio::select! {
                biased;
                item = &mut item, if self.buffer.len() < MAX_BUFFER_BYTES => {
                    self.is_written = false;
                    return Next::Item(item);
                }
                room = self.batches.reserve(), if !self.buffer.is_empty() => match room {
                    Ok(room) => room.send(take(&mut self.buffer)),
                    Err(_) => return Next::Over,
                },
                Ok(_) = self.written.wait_for(|&written| written == self.printed),
                    if !self.is_written =>
                {
                    self.is_written = true;
                    return Next::Written;
                }
                () = self.batches.closed() => return Next::Over,
            }
        }
    }

    /// Waits until all is written, or nobody reads it. Returns how many bytes were written.
    pub(crate) async fn finish(mut self) -> (u64, io::Result<()>) {
        if !self.buffer.is_empty() {
            // If that fails, the thread says why.
            let _ = self.batches.send(self.buffer).await;
        }
        drop(self.batches);
        while self.written.changed().await.is_ok() {}
        let written = *self.written.borrow();
        let result = self.thread.join().expect("it does not panic");
        if result.is_ok() && written < self.printed {
            let missing = self.printed - written;
            complain(format_args!("nobody reads standard output: {missing} bytes are missing"));
        }
        (written, result)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.printed += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread.
struct Writer {
    stdout: File,
    batches: mpsc::Receiver<Vec<u8>>,
    written: watch::Sender<u64>,
    hurry: Arc<AtomicBool>,
}

/// What a pipe takes without waiting once there is room in it: `PIPE_BUF` of Linux.
const PIECE_BYTES: usize = 4096;

/// In a hurry, how long to wait at least for somebody to read, and at most twice as long.
const PATIENCE_MILLISECONDS: u16 = 1_000;

impl Writer {
    fn run(mut self) -> io::Result<()> {
        while let Some(batch) = self.batches.blocking_recv() {
            let mut rest = &batch[..];
            while !rest.is_empty() {
                if !self.is_read()? {
                    return Ok(());
                }
                let piece = &rest[..rest.len().min(PIECE_BYTES)];
                match self.stdout.write(piece) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        rest = &rest[count..];
                        self.written.send_modify(|written| *written += count as u64);
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::Interrupted | ErrorKind::WouldBlock => {}
                        _ => return Err(error),
                    },
                }
            }
        }
        Ok(())
    }

    /// Waits until a piece can be written; `false` if it is in a hurry and nobody reads. A write
    /// that waits could not be called off, and nobody would know how far it has come.
    fn is_read(&self) -> io::Result<bool> {
        loop {
            let hurry = self.hurry.load(Ordering::Relaxed);
            let stdout = PollFd::new(self.stdout.as_fd(), PollFlags::POLLOUT);
            match poll(&mut [stdout], PollTimeout::from(PATIENCE_MILLISECONDS)) {
                Ok(0) if hurry => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Ends when the reader of standard output is gone, as after `| head`. Of a file that never happens.
pub(crate) async fn reader_gone() {
    let (gone, wait) = oneshot::channel();
    let watch = move || {
        let stdout = io::stdout();
        // Asks for nothing, and so waits for what cannot be left out: that it is closed.
        let mut stdout = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        loop {
            match poll(&mut stdout, PollTimeout::NONE) {
                Ok(_) => return gone.send(()),
                Err(Errno::EINTR) => {}
                // It turns out at the next write.
                Err(_) => return Ok(()),
            }
        }
    };
    if thread::Builder::new().spawn(watch).is_err() || wait.await.is_err() {
        pending::<()>().await;
    }
}

/// Says something on standard error, if anybody still reads that.
pub(crate) fn complain(text: std::fmt::Arguments<'_>) {
    beside(|| drop(writeln!(io::stderr(), "notify-json: {text}")));
}

/// Whether the reader of standard output is gone, as after `| head`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
