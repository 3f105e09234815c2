//! How far catching up is, on a terminal.

use std::future::pending;
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use notify_json_client::{LogState, LogStream};
use tokio::sync::watch;

use crate::output::complain;

/// The line that says it; other lines on standard error go above it.
static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Says on a terminal how far catching up is, unless the events themselves are to be seen there.
pub(crate) struct Progress {
    bar: &'static ProgressBar,
    state: watch::Receiver<LogState>,
}

impl Progress {
    pub(crate) fn new<E: 'static>(stream: &LogStream<E>) -> Self {
        let bar = BAR.get_or_init(|| {
            if io::stdout().is_terminal() || !io::stderr().is_terminal() {
                return ProgressBar::hidden();
            }
            let style = ProgressStyle::with_template("{spinner} {human_pos} events, {msg}");
            ProgressBar::new_spinner().with_style(style.expect("it is a template"))
        });
        Self { bar, state: stream.state() }
    }

    /// Counts an event.
    pub(crate) fn printed(&self) {
        self.bar.inc(1);
    }

    /// Waits until all is read that there was, if that is still to be said.
    pub(crate) async fn caught_up(&mut self) {
        if self.bar.is_hidden() || self.bar.is_finished() {
            return pending().await;
        }
        loop {
            let message = match &*self.state.borrow_and_update() {
                LogState::Live => return,
                LogState::Standby => "waiting for the client that holds the consumer",
                LogState::Waiting { .. } => "connecting again",
                _ => "catching up",
            };
            self.bar.set_message(message);
            if self.state.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// Says that all was printed that there was.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
        complain(format_args!("caught up after {} events", HumanCount(self.bar.position())));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

/// Writes lines on standard error, where no progress is shown meanwhile.
pub(crate) fn beside(write: impl FnOnce()) {
    match BAR.get() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
