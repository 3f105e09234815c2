//! `notify-json listen`

use std::collections::HashSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use notify_json_client::{
    Consumer, Event, Listener, ListenerConfig, Message, Replay, Since, State, Subscription,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::acks::Acks;
use crate::connection::Connection;
use crate::log::{self, LogPrinter};
use crate::output::{self, Next, Output};
use crate::print::{self, Format};
use crate::stop::stopped;

/// Print one JSON object a line for every message, as {"channel":"orders","payload":{…}}.
///
/// The payload is printed as it was sent, save that line breaks between tokens become spaces. One
/// that is not JSON is printed as {"channel":…,"error":…,"raw":…}. Where messages may be missing,
/// as after a lost connection, {"channel":…,"gap":{"reason":…}} is printed for every channel
/// concerned.
///
/// A signal ends it once what has been received is printed, or nobody reads it for a second.
#[derive(Args)]
pub(crate) struct Listen {
    #[command(flatten)]
    connection: Connection,
    /// Channels to listen on.
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// Read a durable channel as this consumer: first what it has not acknowledged, then what comes.
    /// Acknowledges what is printed.
    #[arg(long, value_name = "NAME", conflicts_with = "since")]
    consumer: Option<String>,
    /// Read a durable channel without a consumer: from earliest, latest, a time
    /// (2026-11-23T12:00:00Z), a time ago (2h), or the position of an event.
    #[arg(long, value_name = "WHERE", value_parser = log::since)]
    since: Option<Since>,
    /// Print the payload alone; what is not JSON, and gaps, go to standard error.
    #[arg(long)]
    payload_only: bool,
    /// Exit after this many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Exit with code 3 after this time, in seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Exit with code 4 where messages may be missing, after printing the gap.
    #[arg(long)]
    fail_on_gap: bool,
    /// Longest JSON text accepted, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20)]
    max_message_bytes: usize,
}

pub(crate) const GAP: u8 = 4;

enum Log {
    Consumer(Consumer<Message>),
    Replay(Replay<Message>),
}

impl Listen {
    pub(crate) async fn run(mut self) -> Result<ExitCode> {
        let mut named = HashSet::new();
        self.channels.retain(|channel| named.insert(channel.clone()));
        let hurry = Arc::new(AtomicBool::new(false));
        let mut stopped = tokio::spawn(stopped(self.timeout, hurry.clone()));
        if self.consumer.is_some() || self.since.is_some() {
            return self.print_log(stopped, hurry).await;
        }
        let (listener, mut subscription) = tokio::select! {
            connected = self.connect() => connected?,
            code = &mut stopped => return code?,
        };
        let stopped = tokio::spawn(async move {
            let code = stopped.await?;
            // The stream ends once what has been received is printed.
            listener.shutdown().await;
            code
        });
        let mut printer = Printer {
            format: self.format(),
            remaining: self.count,
            channels: &self.channels,
            fail_on_gap: self.fail_on_gap,
        };
        let mut out = Output::start(hurry)?;
        let ended = printer.print_all(&mut subscription, &mut out).await;
        let (_, written) = out.finish().await;
        match (ended?, written?) {
            (Some(code), ()) => Ok(code),
            (None, ()) => stopped.await?,
        }
    }

    async fn print_log(
        &self,
        mut stopped: JoinHandle<Result<ExitCode>>,
        hurry: Arc<AtomicBool>,
    ) -> Result<ExitCode> {
        let [channel] = &self.channels[..] else {
            let text = "--consumer and --since read one channel";
            crate::Arguments::command().error(ErrorKind::TooManyValues, text).exit();
        };
        let printer = LogPrinter {
            format: self.format(),
            remaining: self.count,
            channel,
            fail_on_gap: self.fail_on_gap,
            acks: Acks::new(self.connection.string()),
        };
        let opened = async {
            let listener = self.listener().await?;
            let log = match (&self.consumer, &self.since) {
                (Some(consumer), _) => Log::Consumer(listener.consume(channel, consumer).await?),
                (None, since) => {
                    let since = since.clone().unwrap_or(Since::Latest);
                    Log::Replay(listener.replay(channel, since).await?)
                }
            };
            let _ = writeln!(io::stderr(), "listening on {channel}");
            anyhow::Ok((listener, log))
        };
        let (_listener, log) = tokio::select! {
            opened = opened => opened?,
            code = &mut stopped => return code?,
        };
        let out = Output::start(hurry)?;
        match log {
            Log::Consumer(consumer) => printer.print_all(consumer, out, stopped).await,
            Log::Replay(replay) => printer.print_all(replay, out, stopped).await,
        }
    }

    fn format(&self) -> Format {
        if self.payload_only { Format::PayloadOnly } else { Format::Object }
    }

    async fn listener(&self) -> Result<Listener> {
        let config = self.connection.string().parse::<ListenerConfig>()?;
        Ok(config.max_message_bytes(self.max_message_bytes).connect().await?)
    }

    async fn connect(&self) -> Result<(Listener, Subscription<Message>)> {
        let listener = self.listener().await?;
        let subscription = listener.subscribe_many(&self.channels).await?;
        let _ = writeln!(io::stderr(), "listening on {}", self.channels.join(", "));
        tokio::spawn(say_when_lost(listener.state()));
        Ok((listener, subscription))
    }
}

/// Says on standard error when the connection is lost, and when it is there again.
async fn say_when_lost(mut state: watch::Receiver<State>) {
    let mut is_lost = false;
    while state.changed().await.is_ok() {
        match &*state.borrow_and_update() {
            State::Waiting { error, .. } if !is_lost => {
                is_lost = true;
                output::complain(format_args!("{error}; connecting again"));
            }
            State::Listening if is_lost => {
                is_lost = false;
                output::complain(format_args!("listening again"));
            }
            _ => {}
        }
    }
}

struct Printer<'a> {
    format: Format,
    /// Messages still to print; `None` for all.
    remaining: Option<u64>,
    channels: &'a [String],
    fail_on_gap: bool,
}

impl Printer<'_> {
    /// Prints until the last message that was asked for, or a gap that shall end it; `None` if the
    /// stream or the output ended before.
    async fn print_all(
        &mut self,
        subscription: &mut Subscription<Message>,
        out: &mut Output,
    ) -> Result<Option<ExitCode>> {
        while self.remaining != Some(0) {
            match out.next(subscription.recv()).await {
                Next::Item(Some(Ok(Event::Message(message)))) => {
                    print::message(out, &message, None, self.format)?;
                }
                Next::Item(Some(Ok(Event::Gap(gap)))) => {
                    print::gap(out, &gap, self.channels, self.format)?;
                    if self.fail_on_gap {
                        return Ok(Some(GAP.into()));
                    }
                    continue;
                }
                Next::Item(Some(Err(error))) if error.raw().is_some() => {
                    print::error(out, &error, self.format)?;
                }
                Next::Item(Some(Err(error))) => return Err(error.into()),
                Next::Written => continue,
                Next::Item(None) | Next::Over => return Ok(None),
            }
            self.remaining = self.remaining.map(|remaining| remaining - 1);
        }
        Ok(Some(ExitCode::SUCCESS))
    }
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse().context("not a number of seconds")?;
    Ok(Duration::try_from_secs_f64(seconds)?)
}
