//! Whether a text is JSON.

use serde::de::IgnoredAny;

/// Where a text stops being JSON. Holds none of the text.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Invalid {
    pub(crate) bytes: usize,
    /// From 1.
    pub(crate) line: usize,
    /// In bytes, from 1; 0 before the first.
    pub(crate) column: usize,
    pub(crate) reason: String,
}

/// Checks the whole text with the parser that listeners use. Needs no recursion, so depth is no
/// limit; the server's own check would quote the text in its error's context.
pub(crate) fn check(text: &str) -> Result<(), Invalid> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Invalid { bytes: text.len(), line, column, reason: reason(&error) }
    })
}

/// What an error of the parser says, without the place.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let mut reason = error.to_string();
    reason.truncate(reason.rfind(" at line ").unwrap_or(reason.len()));
    reason
}
