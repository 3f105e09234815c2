//! What a subscription yields.

use std::fmt;
use std::time::Duration;

/// A message, or the place where messages may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a gap means that messages may be missing"]
pub enum Event<T> {
    /// A message.
    Message(T),
    /// Messages may be missing here.
    Gap(Gap),
}

impl<T> Event<T> {
    /// The message, if it is one: for programs that do not care about gaps.
    pub fn message(self) -> Option<T> {
        match self {
            Self::Message(message) => Some(message),
            Self::Gap(_) => None,
        }
    }
}

/// Why messages may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// The connection was lost, or the server had forgotten the channel. Whatever was sent until
    /// now may be missing; whatever is sent from now on arrives.
    Reconnected {
        /// Time from the loss, or from the last sign of life before it, until every channel of the
        /// subscription was listened to again.
        down_for: Duration,
    },
    /// The subscriber was slower than its buffer is large.
    Lagged {
        /// Messages dropped, the oldest first.
        missed: u64,
    },
    /// Retention has removed events of a durable channel before the consumer acknowledged them, or
    /// before a replay came to them.
    Expired {
        /// Events removed: exactly for a consumer, at most for a replay.
        skipped: u64,
    },
    /// The server was restarted, or another one has taken its place, and a replay goes on after the
    /// highest id that it had read. Events with lower ids may be missing whose transactions
    /// committed in the last moments before. Consumers miss nothing.
    Restarted,
    /// A message arrived in part.
    Incomplete {
        /// The channel of the message.
        channel: String,
        /// Frames received.
        received: u32,
        /// Frames announced.
        count: u32,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reconnected { down_for } => {
                write!(f, "not listening for {down_for:.1?}; messages may be missing")
            }
            Self::Lagged { missed } => {
                write!(f, "{missed} messages dropped, since the subscriber was too slow")
            }
            Self::Expired { skipped } => {
                write!(f, "{skipped} events removed by retention before they were read")
            }
            Self::Restarted => f.write_str("server restarted; events may be missing"),
            Self::Incomplete { channel, received, count } => {
                write!(f, "{received} of {count} frames of a message received on {channel:?}")
            }
        }
    }
}
