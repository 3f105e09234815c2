//! How logs are read.

use std::time::Duration;

/// What a reader of a log asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long a consumer stays ours without a sign of life.
    pub(crate) lease: Duration,
    pub(crate) page_events: u32,
    pub(crate) page_bytes: usize,
    /// How often the log is looked at without a doorbell.
    pub(crate) look_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(6),
            page_events: 1_000,
            page_bytes: 8 << 20,
            look_every: Duration::from_secs(5),
        }
    }
}
