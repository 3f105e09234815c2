//! What a reader of a log is doing.

use std::time::Duration;

use crate::Error;

/// What a [`Consumer`](crate::Consumer) or [`Replay`](crate::Replay) is doing, to be watched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogState {
    /// Making a connection.
    Connecting,
    /// Another client holds the consumer; this one asks for it every second.
    Standby,
    /// Reading what was published before.
    CatchingUp,
    /// Everything is read, and what is committed arrives at once.
    Live,
    /// Waiting to connect or read again, after a failure.
    Waiting {
        /// Why.
        error: Error,
        /// Time to wait, counted from the start of this state.
        retry_in: Duration,
    },
    /// Closed, or given up: the stream ends.
    Closed,
}

impl LogState {
    pub(super) fn is_reading(&self) -> bool {
        matches!(self, Self::CatchingUp | Self::Live)
    }
}
