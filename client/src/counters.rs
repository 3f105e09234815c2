//! What a listener has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the listener was made, as read by [`Listener::counts`](crate::Listener::counts).
///
/// With feature `metrics` each is also a counter of the `metrics` facade, named like
/// `notify_json_received_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Messages received, each once however many subscribers it has.
    pub received: u64,
    /// Bytes of the notifications received.
    pub received_bytes: u64,
    /// Messages taken by subscribers, each subscriber counted.
    pub delivered: u64,
    /// Messages dropped because a subscriber was too slow.
    pub lagged: u64,
    /// Gaps put into subscriptions, of every kind.
    pub gaps: u64,
    /// Connections made after a loss.
    pub reconnects: u64,
    /// Messages that did not decode into a subscriber's type.
    pub decode_errors: u64,
    /// Malformed frames, and messages beyond the limit.
    pub frame_errors: u64,
    /// Messages of which only a part arrived.
    pub incomplete: u64,
}

/// A counter, which feature `metrics` also reports under its name.
#[derive(Debug)]
pub(crate) struct Counter {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    name: &'static str,
}

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!(self.name).increment(count);
    }

    pub(crate) fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// The counters behind [`Counts`].
        #[derive(Debug)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn counts(&self) -> Counts {
                Counts { $($name: self.$name.value(),)* }
            }
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    $($name: Counter {
                        value: AtomicU64::new(0),
                        #[cfg(feature = "metrics")]
                        name: concat!("notify_json_", stringify!($name), "_total"),
                    },)*
                }
            }
        }
    };
}

counters!(
    received,
    received_bytes,
    delivered,
    lagged,
    gaps,
    reconnects,
    decode_errors,
    frame_errors,
    incomplete
);
