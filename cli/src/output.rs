//! Lines on standard output.

use std::io::{self, Write};
use std::time::SystemTime;

use notify_json_client::{Error, Gap, Message, Position};
use serde::de::IgnoredAny;
use serde_json::json;

/// How a message becomes a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `{"channel":"orders","payload":{…}}`
    Object,
    /// The payload alone.
    PayloadOnly,
}

/// Where an event is in the log of its channel.
pub(crate) struct Place<'a> {
    pub(crate) id: i64,
    pub(crate) published_at: SystemTime,
    pub(crate) position: Option<&'a Position>,
}

/// Prints one message and flushes it.
pub(crate) fn print_message(message: &Message, format: Format) -> io::Result<()> {
    print_json(message, None, format)
}

/// Prints one event of a durable channel and flushes it.
pub(crate) fn print_event(message: &Message, place: Place<'_>, format: Format) -> io::Result<()> {
    print_json(message, Some(place), format)
}

fn print_json(message: &Message, place: Option<Place<'_>>, format: Format) -> io::Result<()> {
    let json = match message.decode::<IgnoredAny>().and_then(|_| message.json()) {
        Ok(json) => json,
        Err(error) => return print_error(&error, format),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        Format::Object => {
            write!(out, r#"{{"channel":{},"#, quoted(message.channel()))?;
            if let Some(Place { id, published_at, position }) = place {
                let time = humantime::format_rfc3339_micros(published_at);
                write!(out, r#""id":{id},"published_at":"{time}","#)?;
                if let Some(position) = position {
                    write!(out, r#""position":"{position}","#)?;
                }
            }
            write!(out, r#""payload":"#)?;
            write_in_one_line(&mut out, json)?;
            writeln!(out, "}}")?;
        }
        Format::PayloadOnly => {
            write_in_one_line(&mut out, json)?;
            writeln!(out)?;
        }
    }
    out.flush()
}

/// Prints a message of no use: as an object with its raw text, or, where only payloads may be
/// printed, to standard error.
pub(crate) fn print_error(error: &Error, format: Format) -> io::Result<()> {
    let channel = error.channel().unwrap_or_default();
    let text = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match format {
        Format::Object => {
            let (channel, text) = (quoted(channel), quoted(&text));
            let raw = error.raw().map_or(serde_json::Value::Null, quoted);
            let mut out = io::stdout().lock();
            writeln!(out, r#"{{"channel":{channel},"error":{text},"raw":{raw}}}"#)?;
            out.flush()
        }
        Format::PayloadOnly => {
            complain(format_args!("{channel}: {text}"));
            Ok(())
        }
    }
}

/// Prints that messages may be missing, once for each channel concerned.
pub(crate) fn print_gap(gap: &Gap, subscribed: &[String], format: Format) -> io::Result<()> {
    if format == Format::PayloadOnly {
        complain(format_args!("gap: {gap}"));
        return Ok(());
    }
    let (channels, gap) = match gap {
        Gap::Reconnected { down_for } => {
            let seconds = down_for.as_secs_f64();
            (subscribed, json!({"reason": "reconnected", "down_for_seconds": seconds}))
        }
        Gap::Lagged { missed } => (subscribed, json!({"reason": "lagged", "missed": missed})),
        Gap::Expired { skipped } => (subscribed, json!({"reason": "expired", "skipped": skipped})),
        Gap::Restarted => (subscribed, json!({"reason": "restarted"})),
        Gap::Incomplete { channel, received, count } => {
            let gap = json!({"reason": "incomplete", "received": received, "count": count});
            (std::slice::from_ref(channel), gap)
        }
        gap => (subscribed, json!({"reason": gap.to_string()})),
    };
    let mut out = io::stdout().lock();
    for channel in channels {
        writeln!(out, r#"{{"channel":{},"gap":{gap}}}"#, quoted(channel))?;
    }
    out.flush()
}

/// JSON strings hold no raw line breaks, so those of a valid text are white space.
fn write_in_one_line(out: &mut impl Write, json: &str) -> io::Result<()> {
    let mut pieces = json.split(['\n', '\r']);
    out.write_all(pieces.next().unwrap_or_default().as_bytes())?;
    for piece in pieces {
        out.write_all(b" ")?;
        out.write_all(piece.as_bytes())?;
    }
    Ok(())
}

fn quoted(text: &str) -> serde_json::Value {
    text.into()
}

/// Says something on standard error, if anybody still reads that.
pub(crate) fn complain(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "notify-json: {text}");
}

/// Whether the reader of standard output is gone, as after `| head`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
