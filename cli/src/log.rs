//! `notify-json listen` of a durable channel: `--consumer` and `--since`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::SystemTime;

use anyhow::Result;
use futures_util::FutureExt;
use indicatif::ProgressBar;
use notify_json_client::{
    Delivery, Error, ErrorKind, Event, LogState, LogStream, Message, Position, Receipt, Since,
    Stored,
};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::listen::GAP;
use crate::output::{self, Format, Place};

/// Reads where a replay starts.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    let time = || humantime::parse_rfc3339_weak(text).ok();
    let ago = || SystemTime::now().checked_sub(humantime::parse_duration(text).ok()?);
    match text {
        "earliest" => Some(Since::Earliest),
        "latest" => Some(Since::Latest),
        text if text.contains('@') => Position::from_str(text).ok().map(Since::After),
        _ => time().or_else(ago).map(Since::Time),
    }
    .ok_or_else(|| {
        "say earliest, latest, a time (2026-11-23T12:00:00Z), how long ago (2h 30min), or the \
         position of an event"
            .to_owned()
    })
}

/// What a log yields, as far as it is printed.
pub(crate) trait Logged {
    fn message(&self) -> &Message;
    fn place(&self) -> Place<'_>;
    fn receipt(&self) -> Option<Receipt>;
}

impl Logged for Delivery<Message> {
    fn message(&self) -> &Message {
        &self.payload
    }

    fn place(&self) -> Place<'_> {
        Place { id: self.id, published_at: self.published_at, position: None }
    }

    fn receipt(&self) -> Option<Receipt> {
        Some(Delivery::receipt(self).clone())
    }
}

impl Logged for Stored<Message> {
    fn message(&self) -> &Message {
        &self.payload
    }

    fn place(&self) -> Place<'_> {
        let position = Some(&self.position);
        Place { id: self.id, published_at: self.published_at, position }
    }

    fn receipt(&self) -> Option<Receipt> {
        None
    }
}

/// Prints a log, and acknowledges what it has printed.
pub(crate) struct LogPrinter<'a> {
    pub(crate) format: Format,
    /// Events still to print; `None` for all.
    pub(crate) remaining: Option<u64>,
    pub(crate) channel: &'a str,
    pub(crate) fail_on_gap: bool,
    pub(crate) acks: Acks<'a>,
}

/// Printed events that may wait for their acknowledgement while there are more to print.
const MAX_UNACKED: u64 = 1_000;

impl LogPrinter<'_> {
    /// Prints until the last event that was asked for, a gap that shall end it, or a signal.
    pub(crate) async fn print_all<E: Logged + 'static>(
        mut self,
        mut stream: LogStream<E>,
        mut stopped: JoinHandle<Result<ExitCode>>,
    ) -> Result<ExitCode> {
        let progress = Progress::new(&stream);
        let code = loop {
            if self.remaining == Some(0) {
                break ExitCode::SUCCESS;
            }
            if stopped.is_finished() {
                break stopped.await??;
            }
            let next = match stream.recv().now_or_never() {
                Some(next) => next,
                None => {
                    self.acks.send().await?;
                    tokio::select! {
                        next = stream.recv() => next,
                        code = &mut stopped => break code??,
                    }
                }
            };
            let Some(next) = next else { break ExitCode::SUCCESS };
            if let Some(code) = self.print(next).await? {
                break code;
            }
            progress.printed();
        };
        self.acks.send().await?;
        stream.close().await;
        Ok(code)
    }

    async fn print<E: Logged>(
        &mut self,
        next: Result<Event<E>, Error>,
    ) -> Result<Option<ExitCode>> {
        let receipt = match next {
            Ok(Event::Message(event)) => {
                output::print_event(event.message(), event.place(), self.format)?;
                event.receipt()
            }
            Ok(Event::Gap(gap)) => {
                output::print_gap(&gap, &[self.channel.to_owned()], self.format)?;
                return Ok(self.fail_on_gap.then(|| GAP.into()));
            }
            Err(error) if error.position().is_some() => {
                output::print_error(&error, self.format)?;
                error.receipt().cloned()
            }
            Err(error) => return Err(error.into()),
        };
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        self.acks.add(receipt).await?;
        Ok(None)
    }
}

/// Acknowledgements to be sent, on a connection of their own.
pub(crate) struct Acks<'a> {
    connection: &'a str,
    client: Option<Client>,
    /// Of the last event printed.
    receipt: Option<Receipt>,
    waiting: u64,
}

impl<'a> Acks<'a> {
    pub(crate) fn new(connection: &'a str) -> Self {
        Self { connection, client: None, receipt: None, waiting: 0 }
    }

    async fn add(&mut self, receipt: Option<Receipt>) -> Result<()> {
        if receipt.is_some() {
            self.receipt = receipt;
            self.waiting += 1;
        }
        if self.waiting >= MAX_UNACKED { self.send().await } else { Ok(()) }
    }

    /// Acknowledges everything printed.
    async fn send(&mut self) -> Result<()> {
        let Some(receipt) = self.receipt.take() else { return Ok(()) };
        self.waiting = 0;
        loop {
            let is_new = self.client.is_none();
            let client = match &self.client {
                Some(client) => client,
                None => {
                    let (client, connection) = notify_json_client::connect(self.connection).await?;
                    tokio::spawn(connection);
                    self.client.insert(client)
                }
            };
            match receipt.ack(client).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Lost && !is_new => self.client = None,
                Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => {
                    output::complain(format_args!("{error}: another client has the consumer now"));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Says on a terminal how far catching up is, unless the events themselves are to be seen there.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new<E: 'static>(stream: &LogStream<E>) -> Self {
        if io::stdout().is_terminal() || !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_message("events, catching up");
        let mut state = stream.state();
        let shown = bar.clone();
        tokio::spawn(async move {
            let _ = state.wait_for(|state| matches!(state, LogState::Live)).await;
            shown.finish_with_message("events, and all that come");
        });
        Self(Some(bar))
    }

    fn printed(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }
}
