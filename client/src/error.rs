//! What can go wrong on the way from the database to a type.

use std::fmt;
use std::sync::Arc;

use notify_json_wire::{DecodeError, JoinError};
use tokio_postgres::error::{Severity, SqlState};

use crate::{Position, Receipt};

/// An error of this crate. Cheap to clone, since several subscribers may receive the same one.
///
/// Neither `Display` nor `Debug` shows any of a payload's content: that is in [`raw`](Self::raw)
/// and in [`decode_error`](Self::decode_error), whose text may quote it.
#[derive(Clone)]
pub struct Error(Arc<ErrorInner>);

struct ErrorInner {
    kind: ErrorKind,
    text: String,
    channel: Option<Arc<str>>,
    raw: Option<String>,
    place: Option<(Position, Option<Receipt>)>,
    source: Option<Source>,
}

enum Source {
    Postgres(tokio_postgres::Error),
    Join(JoinError),
    Unpack(DecodeError),
    Json(serde_json::Error),
    Other(Box<dyn std::error::Error + Send + Sync>),
}

/// What an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The parameters of the connection, or a file that they name, are of no use.
    Config,
    /// A channel name that PostgreSQL would refuse or cut.
    Channel,
    /// The connection could not be made.
    Connect,
    /// The connection was lost.
    Lost,
    /// The server answered with an error, whose SQLSTATE is in [`Error::code`].
    Postgres,
    /// A message does not decode into the subscriber's type; the stream goes on.
    Decode,
    /// A frame is malformed or exceeds a limit; the stream goes on.
    Frame,
    /// An event of a durable channel is longer than
    /// [`max_message_bytes`](crate::ListenerConfig::max_message_bytes); the stream goes on.
    TooLarge,
    /// A value does not serialize to JSON.
    Encode,
    /// A contract is not compatible with that of its channel. The source says where and why.
    Incompatible,
    /// The server cannot serve a listener: a standby, or a pooler in transaction mode.
    Unsupported,
    /// The subscriber was too slow for [`Overflow::Close`](crate::Overflow::Close).
    Overflow,
    /// The listener was shut down.
    Closed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self(Arc::new(ErrorInner {
            kind,
            text: text.into(),
            channel: None,
            raw: None,
            place: None,
            source: None,
        }))
    }

    fn build(mut self, change: impl FnOnce(&mut ErrorInner)) -> Self {
        change(Arc::get_mut(&mut self.0).expect("an error under construction is not shared"));
        self
    }

    pub(crate) fn caused_by(
        self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.build(|e| e.source = Some(Source::Other(source.into())))
    }

    pub(crate) fn too_large(channel: Arc<str>, id: i64, bytes: i64, limit: usize) -> Self {
        let text = format!(
            "event {id} has {bytes} bytes, more than the {limit} accepted here: raise \
             max_message_bytes, or go on without it"
        );
        Self::new(ErrorKind::TooLarge, text).build(|e| e.channel = Some(channel))
    }

    /// The error of an event, with its place in the log.
    pub(crate) fn at(mut self, position: Position, receipt: Option<Receipt>) -> Self {
        if Arc::get_mut(&mut self.0).is_none() {
            let ErrorInner { kind, text, channel, raw, .. } = &*self.0;
            let (channel, raw) = (channel.clone(), raw.clone());
            let error = Self::new(*kind, text.clone()).caused_by(self);
            return error.build(|e| {
                (e.channel, e.raw, e.place) = (channel, raw, Some((position, receipt)));
            });
        }
        self.build(|e| e.place = Some((position, receipt)))
    }

    #[cfg(feature = "schema")]
    pub(crate) fn incompatible(source: crate::Incompatible) -> Self {
        let text = "the contract is not compatible with the channel's";
        Self::new(ErrorKind::Incompatible, text).caused_by(source)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the listener was shut down")
    }

    pub(crate) fn overflow(messages: usize, bytes: usize) -> Self {
        let text = format!(
            "subscription closed: it had {messages} messages ({bytes} bytes) waiting and no room \
             for the next"
        );
        Self::new(ErrorKind::Overflow, text)
    }

    /// An error of a query: of [`ErrorKind::Postgres`] or, where it ends the connection,
    /// [`ErrorKind::Lost`].
    pub(crate) fn query(text: &str, source: tokio_postgres::Error) -> Self {
        let answered = is_refusal(&source);
        let kind = if answered { ErrorKind::Postgres } else { ErrorKind::Lost };
        Self::postgres(kind, text, source)
    }

    /// An error of a call of the extension, with what to do where the server does not say it.
    pub(crate) fn call(text: &str, needs: &str, source: tokio_postgres::Error) -> Self {
        let advice = match source.code().map(SqlState::code) {
            Some("42501") => format!("the role needs {needs}"),
            Some("3F000" | "42883") => "the database lacks the extension, or its schema is not in \
                                        the search_path: CREATE EXTENSION notify_json"
                .to_owned(),
            _ => return Self::query(text, source),
        };
        Self::query(&format!("{text}: {advice}"), source)
    }

    pub(crate) fn postgres(kind: ErrorKind, text: &str, source: tokio_postgres::Error) -> Self {
        Self::new(kind, text).build(|e| e.source = Some(Source::Postgres(source)))
    }

    pub(crate) fn frame(channel: Arc<str>, raw: &str, source: JoinError) -> Self {
        Self::new(ErrorKind::Frame, "frame of no use").build(|e| {
            e.channel = Some(channel);
            e.raw = Some(raw.to_owned());
            e.source = Some(Source::Join(source));
        })
    }

    pub(crate) fn unpack(channel: Arc<str>, raw: String, source: DecodeError) -> Self {
        Self::new(ErrorKind::Frame, "compressed message of no use").build(|e| {
            e.channel = Some(channel);
            e.raw = Some(raw);
            e.source = Some(Source::Unpack(source));
        })
    }

    pub(crate) fn decode(
        channel: Arc<str>,
        raw: &str,
        target: &str,
        source: serde_json::Error,
    ) -> Self {
        use serde_json::error::Category;
        let problem = match source.classify() {
            Category::Data => format!("does not decode as {target}"),
            Category::Syntax | Category::Eof | Category::Io => "is not JSON".to_owned(),
        };
        let (line, column) = (source.line(), source.column());
        let text = format!("payload {problem} (line {line}, column {column})");
        Self::new(ErrorKind::Decode, text).build(|e| {
            e.channel = Some(channel);
            e.raw = Some(raw.to_owned());
            e.source = Some(Source::Json(source));
        })
    }

    pub(crate) fn encode(source: serde_json::Error) -> Self {
        Self::new(ErrorKind::Encode, "value does not serialize to JSON")
            .build(|e| e.source = Some(Source::Json(source)))
    }

    /// What the error is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The channel of the message, for [`ErrorKind::Decode`] and [`ErrorKind::Frame`].
    pub fn channel(&self) -> Option<&str> {
        self.0.channel.as_deref()
    }

    /// What arrived, for [`ErrorKind::Decode`] the JSON text and for [`ErrorKind::Frame`] the
    /// frame, or the base64 of a message that does not decompress.
    pub fn raw(&self) -> Option<&str> {
        self.0.raw.as_deref()
    }

    /// Where in the log of its channel the event is, for [`ErrorKind::Decode`] and
    /// [`ErrorKind::TooLarge`] of a [`Consumer`](crate::Consumer) or [`Replay`](crate::Replay).
    pub fn position(&self) -> Option<&Position> {
        self.0.place.as_ref().map(|(position, _)| position)
    }

    /// What acknowledges the event, for [`ErrorKind::Decode`] and [`ErrorKind::TooLarge`] of a
    /// [`Consumer`](crate::Consumer).
    pub fn receipt(&self) -> Option<&Receipt> {
        self.0.place.as_ref()?.1.as_ref()
    }

    /// What serde says, for [`ErrorKind::Decode`] and [`ErrorKind::Encode`]. Its text may quote
    /// values, so it is not part of `source()`, which ends up in logs.
    pub fn decode_error(&self) -> Option<&serde_json::Error> {
        match &self.0.source {
            Some(Source::Json(error)) => Some(error),
            _ => None,
        }
    }

    /// The SQLSTATE, if the server answered with an error.
    pub fn code(&self) -> Option<&SqlState> {
        match &self.0.source {
            Some(Source::Postgres(error)) => error.code(),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorInner { kind, text, channel, .. } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("text", text)
            .field("channel", channel)
            .field("source", &std::error::Error::source(self))
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.0.source.as_ref()? {
            Source::Postgres(error) => Some(error),
            Source::Join(error) => Some(error),
            Source::Unpack(error) => Some(error),
            Source::Json(_) => None,
            Source::Other(error) => Some(&**error),
        }
    }
}

/// Whether the server has said no, and its session goes on.
pub(crate) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    let is_fatal = |severity| matches!(severity, Severity::Fatal | Severity::Panic);
    error.as_db_error().is_some_and(|error| !error.parsed_severity().is_some_and(is_fatal))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_decode_error_keeps_the_content_out_of_its_texts() {
        let raw = r#"{"id": "secret"}"#;
        let source = serde_json::from_str::<std::collections::HashMap<String, u32>>(raw);
        let error = Error::decode("orders".into(), raw, "Order", source.unwrap_err());
        assert_eq!(error.to_string(), "payload does not decode as Order (line 1, column 15)");
        assert!(!format!("{error:?}").contains("secret"));
        assert!(error.source().is_none());
        assert_eq!(error.raw(), Some(raw));
        assert!(error.decode_error().unwrap().to_string().contains("secret"));
    }
}
