//! What can go wrong in a call, and what the caller is told: SQLSTATE, numbers, next step.
//! No message holds any of a payload's content.

use notify_json_wire::SplitError;
use pgrx::PgLogLevel;
use pgrx::PgSqlErrorCode::{self, *};
use pgrx::pg_sys::panic::ErrorReport;

use crate::argument::Encoding;
use crate::contract::{BadSchema, Breach, Uncheckable};
use crate::json::Invalid;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0} must not be NULL")]
    Null(&'static str),
    #[error("channel name must not be empty")]
    EmptyChannel,
    #[error("channel name is too long")]
    LongChannel { bytes: usize },
    #[error("{what} is not valid UTF-8")]
    NotUtf8 { what: &'static str, valid_up_to: usize },
    #[error("{what} has a character without equivalent in UTF-8")]
    Untranslatable { what: &'static str },
    #[error("payload is not valid JSON")]
    Json(#[from] Invalid),
    #[error("payload breaks the contract of its channel")]
    /// Without a place if that takes too long to find.
    Breach(Option<Breach>),
    #[error("payload cannot be checked against the contract of its channel")]
    Uncheckable(Uncheckable),
    #[error("payload is nested too deeply for the contract of its channel")]
    Deep,
    #[error("schema is none that events can be checked by")]
    BadSchema(BadSchema),
    #[error("contract of the channel cannot be used")]
    UnusableContract(BadSchema),
    #[error("payload is too large")]
    TooLarge { length: usize, limit: usize },
    #[error("out of memory while compressing a payload")]
    Compress { length: usize },
    #[error("cannot notify during recovery")]
    Standby,
    #[error("cannot notify from a parallel worker")]
    ParallelWorker,
    #[error("cannot publish on a durable channel during a parallel operation")]
    ParallelOperation,
    #[error("cannot publish on a durable channel in a read-only transaction")]
    ReadOnly,
    #[error("row_changed() was called by what is no trigger of watch()")]
    ForeignTrigger,
    #[error("changes of one statement are too large for one event")]
    LargeStatement { done: i64, count: i64, limit: usize },
    #[error("changes of one transaction are too large for a live channel")]
    TooManyChanges { events: i64, limit: usize },
    #[error("{table} does not fit the library")]
    Version { table: &'static str },
}

/// Bytes of a channel name that PostgreSQL takes: `NAMEDATALEN` less one.
pub(crate) const MAX_CHANNEL_BYTES: usize = 63;

impl Error {
    /// Ends the statement with this error.
    pub(crate) fn raise(self) -> ! {
        ErrorReport::new(self.sqlstate(), self.to_string(), "notify_json")
            .set_detail(in_any_encoding(self.detail()))
            .set_hint(self.hint())
            .report(PgLogLevel::ERROR);
        unreachable!("an error does not return")
    }

    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Null(_) | Self::EmptyChannel | Self::LongChannel { .. } => {
                ERRCODE_INVALID_PARAMETER_VALUE
            }
            Self::NotUtf8 { .. } => ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            Self::Untranslatable { .. } => ERRCODE_UNTRANSLATABLE_CHARACTER,
            Self::Json(_) => ERRCODE_INVALID_TEXT_REPRESENTATION,
            Self::Breach(_) => ERRCODE_CHECK_VIOLATION,
            Self::Uncheckable(_) | Self::BadSchema(_) => ERRCODE_INVALID_PARAMETER_VALUE,
            Self::Deep => ERRCODE_STATEMENT_TOO_COMPLEX,
            Self::UnusableContract(_) => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::TooLarge { .. } => ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::Compress { .. } => ERRCODE_OUT_OF_MEMORY,
            Self::Standby => ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::ParallelWorker | Self::ParallelOperation => ERRCODE_INVALID_TRANSACTION_STATE,
            Self::ReadOnly => ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::ForeignTrigger => ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            Self::LargeStatement { .. } | Self::TooManyChanges { .. } => {
                ERRCODE_PROGRAM_LIMIT_EXCEEDED
            }
            Self::Version { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Null(what) => {
                format!("The {what} is NULL, so there is nothing that could be sent.")
            }
            Self::EmptyChannel => "The name has 0 bytes; it must have 1 to 63.".to_owned(),
            Self::LongChannel { bytes } => {
                format!("The name has {bytes} bytes; it must have 1 to {MAX_CHANNEL_BYTES}.")
            }
            Self::NotUtf8 { what, valid_up_to } => format!(
                "The database's encoding is SQL_ASCII, and the {what} stops being UTF-8 after \
                 byte {valid_up_to}."
            ),
            Self::Untranslatable { what } => {
                format!("Listeners receive UTF-8, into which the {what} cannot be converted.")
            }
            Self::Json(Invalid { bytes, line, column, reason }) => {
                format!("In the text of {bytes} bytes at line {line}, byte {column}: {reason}.")
            }
            Self::Breach(Some(Breach { place, missing, keyword })) => {
                let place = match &**place {
                    "" => "The payload itself".to_owned(),
                    place => format!("What the payload has at {place}"),
                };
                let missing = missing.as_ref();
                let missing = missing.map(|name| format!(": \"{name}\" is missing"));
                let missing = missing.unwrap_or_default();
                let keyword = match &**keyword {
                    "" => String::new(),
                    keyword => format!("{keyword} of "),
                };
                format!("{place} does not meet {keyword}the schema{missing}.")
            }
            Self::Breach(None) => {
                "To say where takes too long: alternatives of the schema refer to it again."
                    .to_owned()
            }
            Self::Uncheckable(Uncheckable { line, column, reason }) => {
                format!("At line {line}, byte {column}: {reason}.")
            }
            Self::Deep => {
                "The schema follows it further than the server's stack may be used.".to_owned()
            }
            Self::BadSchema(BadSchema { reason })
            | Self::UnusableContract(BadSchema { reason }) => {
                format!("What is wrong: {reason}.")
            }
            Self::TooLarge { length, limit } => format!(
                "The JSON text has {length} bytes; notify_json.max_message_bytes allows {limit}."
            ),
            Self::Compress { length } => format!("The JSON text has {length} bytes."),
            Self::Standby => {
                "This server is a standby: notifications travel with commits, and it has none of \
                 its own."
                    .to_owned()
            }
            Self::ParallelWorker => {
                "A function that calls notify_json() is marked PARALLEL SAFE.".to_owned()
            }
            Self::ParallelOperation => {
                "A function that calls notify_json() is marked PARALLEL RESTRICTED or SAFE."
                    .to_owned()
            }
            Self::ReadOnly => {
                "Events of a durable channel are kept in a table, which takes a write.".to_owned()
            }
            Self::ForeignTrigger => {
                "It publishes the changes that an AFTER trigger made by watch() is about."
                    .to_owned()
            }
            Self::LargeStatement { done, count, limit } => format!(
                "The first {done} of {count} rows have more bytes than the {limit} that \
                 notify_json.max_message_bytes allows."
            ),
            Self::TooManyChanges { events, limit } => format!(
                "Its {events} events so far take more memory than the {limit} bytes that \
                 notify_json.max_transaction_bytes allows until the commit."
            ),
            Self::Version { .. } => {
                "The extension in this database is of another version than the library of the \
                 server."
                    .to_owned()
            }
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Null("payload") => {
                "For an empty event send the JSON value null: notify_json(channel, 'null')."
            }
            Self::Null(_) | Self::EmptyChannel => "Name the channel that the listeners listen on.",
            Self::LongChannel { .. } => {
                "Shorten the name. LISTEN would cut it silently, and the listener would hear \
                 nothing."
            }
            Self::NotUtf8 { .. } => {
                "Send UTF-8, or use convert_from() with the text's real encoding in a database of \
                 another encoding."
            }
            Self::Untranslatable { .. } => "Replace the character, for example by its \\u escape.",
            Self::Json(_) => {
                "Build the payload with jsonb_build_object() or to_json(), which quote and escape."
            }
            Self::Breach(_) => {
                "Send what SELECT schema FROM notify_json.contracts asks for, or have the channel's \
                 owner change that with notify_json.alter_channel(channel, schema => '...')."
            }
            Self::Uncheckable(_) => {
                "Under a contract, numbers must be within the range of 64-bit floats, values nest \
                 at most 127 deep, and an object has each property once."
            }
            Self::Deep => "Nest values less deeply, or raise max_stack_depth.",
            Self::BadSchema(_) => {
                "Give a JSON Schema, of draft 2020-12 unless $schema says otherwise, that refers to \
                 itself alone; its patterns know no look-around and no back-references. The JSON \
                 value null lifts a contract."
            }
            Self::UnusableContract(_) => {
                "Give the channel another one with notify_json.alter_channel(channel, schema => \
                 '...'), or lift it with schema => 'null'."
            }
            Self::TooLarge { .. } => {
                "Raise notify_json.max_message_bytes here and max_message_bytes at every \
                 listener, or send a key by which the listener can fetch the document."
            }
            Self::Compress { .. } => {
                "Send less at once, or turn compression off with SET \
                 notify_json.compress_above_bytes = -1."
            }
            Self::Standby => "Connect to the primary.",
            Self::ParallelWorker | Self::ParallelOperation => {
                "Declare the function PARALLEL UNSAFE, as every function is by default."
            }
            Self::ReadOnly => "Begin the transaction READ WRITE.",
            Self::ForeignTrigger => {
                "Create triggers with SELECT notify_json.watch(table, channel)."
            }
            Self::LargeStatement { .. } => {
                "Change fewer rows a statement, watch the table with per => 'row', or raise \
                 notify_json.max_message_bytes here and max_message_bytes at every listener."
            }
            Self::TooManyChanges { .. } => {
                "Make the channel durable with notify_json.create_channel(), where events do not \
                 wait in memory; or change fewer rows a transaction, or raise \
                 notify_json.max_transaction_bytes."
            }
            Self::Version { .. } => {
                "Run ALTER EXTENSION notify_json UPDATE, and connect again if the library was \
                 replaced."
            }
        }
    }
}

/// A text that may quote a schema, as every encoding and C can have it.
fn in_any_encoding(text: String) -> String {
    let is_utf8 = Encoding::of_database() == Encoding::Utf8;
    let fits = |character: char| character != '\0' && (is_utf8 || character.is_ascii());
    if text.chars().all(fits) {
        return text;
    }
    let escaped = text.chars().map(|character| match fits(character) {
        true => character.to_string(),
        false => character.escape_unicode().to_string(),
    });
    escaped.collect()
}

impl From<SplitError> for Error {
    fn from(error: SplitError) -> Self {
        match error {
            SplitError::TooLarge { length, limit } => Self::TooLarge { length, limit },
            SplitError::Compress { length } => Self::Compress { length },
        }
    }
}
