//! How long to wait before trying again.
//!
//! The `backoff` crate is used here and nowhere else. It is unmaintained (RUSTSEC-2025-0012), so
//! the rest of the program sees [`RetryDelay`] and another crate can take its place in this file.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff};

/// How much of a delay is left to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// The delay is exact.
    None,
    /// The delay is anything from half of it to one and a half times it.
    Half,
}

/// Exponential delays between tries that never give up: reconnects, polls after an error.
#[derive(Debug)]
pub struct RetryDelay(ExponentialBackoff);

impl RetryDelay {
    /// Delays of `first`, doubling up to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration, jitter: Jitter) -> Self {
        let mut inner = ExponentialBackoff {
            initial_interval: first,
            current_interval: first,
            max_interval: max,
            multiplier: 2.0,
            randomization_factor: match jitter {
                Jitter::None => 0.0,
                Jitter::Half => 0.5,
            },
            // The crate would give up after 15 minutes, silently.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        inner.reset();
        Self(inner)
    }

    /// The next delay; it grows with every call.
    pub fn next_delay(&mut self) -> Duration {
        let max = self.0.max_interval;
        self.0.next_backoff().unwrap_or(max)
    }

    /// Starts over: the last try worked.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// The exponential delay after so many failures, at most `max`.
pub(super) fn exponential(
    first: Duration,
    multiplier: f64,
    max: Duration,
    failed: u32,
) -> Duration {
    let mut delays = ExponentialBackoff {
        initial_interval: first,
        current_interval: first,
        max_interval: max,
        multiplier,
        randomization_factor: 0.0,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut delay = first.min(max);
    // Once it has reached its bound, or does not grow, it stays.
    for number in 0..failed {
        let next = delays.next_backoff().unwrap_or(max);
        if number > 0 && next == delay {
            break;
        }
        delay = next;
    }
    delay
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_over() {
        let mut delay = RetryDelay::new(
            Duration::from_millis(200),
            Duration::from_secs(1),
            Jitter::None,
        );
        let delays: Vec<_> = (0..5).map(|_| delay.next_delay().as_millis()).collect();
        assert_eq!(delays, [200, 400, 800, 1_000, 1_000]);
        delay.reset();
        assert_eq!(delay.next_delay().as_millis(), 200);
    }

    #[test]
    fn jitter_stays_within_half() {
        let mut delay =
            RetryDelay::new(Duration::from_secs(1), Duration::from_secs(1), Jitter::Half);
        for _ in 0..100 {
            let millis = delay.next_delay().as_millis();
            assert!((500..=1_500).contains(&millis), "{millis}");
        }
    }
}
