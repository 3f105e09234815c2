//! How messages become lines.

use std::io::{self, Write};
use std::time::SystemTime;

use notify_json_client::{Error, Gap, Message, Position};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::output::complain;

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

/// Prints one message, of a durable channel with its place.
pub(crate) fn message(
    out: &mut impl Write,
    message: &Message,
    place: Option<Place<'_>>,
    format: Format,
) -> io::Result<()> {
    let json = match message.decode::<IgnoredAny>().and_then(|_| message.json()) {
        Ok(json) => json,
        Err(e) => return error(out, &e, format),
    };
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
            write_in_one_line(out, json)?;
            writeln!(out, "}}")
        }
        Format::PayloadOnly => {
            write_in_one_line(out, json)?;
            writeln!(out)
        }
    }
}

/// Prints a message of no use: as an object with its raw text, or, where only payloads may be
/// printed, to standard error.
pub(crate) fn error(out: &mut impl Write, error: &Error, format: Format) -> io::Result<()> {
    let channel = error.channel().unwrap_or_default();
    let text = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    match format {
        Format::Object => {
            let (channel, text) = (quoted(channel), quoted(&text));
            let raw = error.raw().map_or(serde_json::Value::Null, quoted);
            writeln!(out, r#"{{"channel":{channel},"error":{text},"raw":{raw}}}"#)
        }
        Format::PayloadOnly => {
            complain(format_args!("{channel}: {text}"));
            Ok(())
        }
    }
}

/// Prints that messages may be missing, once for each channel concerned.
pub(crate) fn gap(
    out: &mut impl Write,
    gap: &Gap,
    subscribed: &[String],
    format: Format,
) -> io::Result<()> {
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
    for channel in channels {
        writeln!(out, r#"{{"channel":{},"gap":{gap}}}"#, quoted(channel))?;
    }
    Ok(())
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
