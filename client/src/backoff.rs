//! How long to wait before connecting again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Exponential backoff with full jitter: a random time between nothing and a bound that doubles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) min_delay: Duration,
    pub(crate) max_delay: Duration,
    pub(crate) max_attempts: Option<u32>,
}

impl Backoff {
    /// The delays after a loss; they end when the attempts do.
    pub(crate) fn delays(&self) -> Delays {
        let builder =
            ExponentialBuilder::new().with_min_delay(self.min_delay).with_max_delay(self.max_delay);
        let builder = match self.max_attempts {
            Some(attempts) => builder.with_max_times(attempts as usize),
            None => builder.without_max_times(),
        };
        Delays(builder.build())
    }
}

pub(crate) struct Delays(ExponentialBackoff);

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0.next()?.mul_f64(fastrand::f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        min_delay: Duration::from_millis(100),
        max_delay: Duration::from_secs(30),
        max_attempts: None,
    };

    #[test]
    fn the_bound_doubles_up_to_the_maximum() {
        let mut largest = vec![Duration::ZERO; 12];
        for _ in 0..2_000 {
            for (largest, delay) in largest.iter_mut().zip(BACKOFF.delays()) {
                *largest = delay.max(*largest);
            }
        }
        for (attempt, largest) in largest.into_iter().enumerate() {
            let bound = Duration::from_millis(100 << attempt).min(Duration::from_secs(30));
            assert!(largest <= bound && largest > bound / 2, "{attempt}: {largest:?} of {bound:?}");
        }
    }

    #[test]
    fn it_never_ends_unless_told_to() {
        assert_eq!(BACKOFF.delays().take(10_000).count(), 10_000);
        assert_eq!(Backoff { max_attempts: Some(3), ..BACKOFF }.delays().count(), 3);
    }
}
