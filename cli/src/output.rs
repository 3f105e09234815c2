//! Lines on standard output.

use std::io::{self, Write};

use notify_json_client::{Error, Gap, Message};
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

/// Prints one message and flushes it.
pub(crate) fn print_message(message: &Message, format: Format) -> io::Result<()> {
    let json = match message.decode::<IgnoredAny>().and_then(|_| message.json()) {
        Ok(json) => json,
        Err(error) => return print_error(&error, format),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        Format::Object => {
            write!(out, r#"{{"channel":{},"payload":"#, quoted(message.channel()))?;
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
            let raw = quoted(error.raw().unwrap_or_default());
            let mut out = io::stdout().lock();
            writeln!(out, r#"{{"channel":{channel},"error":{text},"raw":{raw}}}"#)?;
            out.flush()
        }
        Format::PayloadOnly => writeln!(io::stderr(), "notify-json: {channel}: {text}"),
    }
}

/// Prints that messages may be missing, once for each channel concerned.
pub(crate) fn print_gap(gap: &Gap, subscribed: &[String], format: Format) -> io::Result<()> {
    if format == Format::PayloadOnly {
        return writeln!(io::stderr(), "notify-json: gap: {gap}");
    }
    let (channels, gap) = match gap {
        Gap::Reconnected { down_for } => {
            let seconds = down_for.as_secs_f64();
            (subscribed, json!({"reason": "reconnected", "down_for_seconds": seconds}))
        }
        Gap::Lagged { missed } => (subscribed, json!({"reason": "lagged", "missed": missed})),
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

/// Whether the reader of standard output is gone, as after `| head`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
