//! `notify-json listen` of a durable channel: `--consumer` and `--since`.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::SystemTime;

use anyhow::Result;
use notify_json_client::{
    Delivery, Error, Event, LogStream, Message, Position, Receipt, Since, Stored,
};
use tokio::task::JoinHandle;

use crate::acks::Acks;
use crate::listen::GAP;
use crate::output::{Next, Output};
use crate::print::{self, Format, Place};
use crate::progress::Progress;

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

impl LogPrinter<'_> {
    /// Prints until the last event that was asked for, a gap that shall end it, or a signal, and
    /// acknowledges exactly what is written by then.
    pub(crate) async fn print_all<E: Logged + 'static>(
        mut self,
        mut stream: LogStream<E>,
        mut out: Output,
        mut stopped: JoinHandle<Result<ExitCode>>,
    ) -> Result<ExitCode> {
        let ended = self.print_until(&mut stream, &mut out, &mut stopped).await;
        let (bytes, written) = out.finish().await;
        let acked = self.acks.send(bytes).await;
        stream.close().await;
        match (ended?, written?, acked?) {
            (Some(code), ..) => Ok(code),
            (None, ..) => stopped.await?,
        }
    }

    /// `None` if the output ended before.
    async fn print_until<E: Logged + 'static>(
        &mut self,
        stream: &mut LogStream<E>,
        out: &mut Output,
        stopped: &mut JoinHandle<Result<ExitCode>>,
    ) -> Result<Option<ExitCode>> {
        let mut progress = Progress::new(stream);
        while self.remaining != Some(0) {
            let next = tokio::select! {
                biased;
                code = &mut *stopped => return code?.map(Some),
                next = out.next(stream.recv()) => next,
                () = progress.caught_up(), if out.is_written() => {
                    progress.finish();
                    continue;
                }
            };
            match next {
                Next::Item(Some(event)) => {
                    if let Some(code) = self.print(event, out, &progress)? {
                        return Ok(Some(code));
                    }
                    self.acks.send_if_many(out.written()).await?;
                }
                Next::Item(None) => break,
                Next::Written => self.acks.send_for_now(out.written()).await?,
                Next::Over => return Ok(None),
            }
        }
        Ok(Some(ExitCode::SUCCESS))
    }

    fn print<E: Logged>(
        &mut self,
        event: Result<Event<E>, Error>,
        out: &mut Output,
        progress: &Progress,
    ) -> Result<Option<ExitCode>> {
        let receipt = match event {
            Ok(Event::Message(event)) => {
                print::message(out, event.message(), Some(event.place()), self.format)?;
                event.receipt()
            }
            Ok(Event::Gap(gap)) => {
                print::gap(out, &gap, &[self.channel.to_owned()], self.format)?;
                return Ok(self.fail_on_gap.then(|| GAP.into()));
            }
            Err(error) if error.position().is_some() => {
                print::error(out, &error, self.format)?;
                error.receipt().cloned()
            }
            Err(error) => return Err(error.into()),
        };
        progress.printed();
        self.remaining = self.remaining.map(|remaining| remaining - 1);
        if let Some(receipt) = receipt {
            self.acks.add(receipt, out.printed());
        }
        Ok(None)
    }
}
