//! What a listener's connection is doing.

use std::time::Duration;

use crate::Error;

/// What a listener's connection is doing, as watched by [`Listener::state`](crate::Listener::state).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// A connection is being made.
    Connecting,
    /// Every channel with a subscription is listened to.
    Listening,
    /// The connection was lost or could not be made; after `retry_in` it is tried again.
    Waiting {
        /// Why there is no connection.
        error: Error,
        /// Time until the next attempt.
        retry_in: Duration,
        /// Attempts since the loss, from 1.
        attempt: u32,
    },
    /// The listener was shut down, or gave up.
    Closed,
}
