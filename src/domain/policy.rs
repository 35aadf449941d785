//! What a node does about its own failures.

use std::time::Duration;

use super::{ErrorClass, SideEffects, delay::exponential};

/// The longest that a target's `Retry-After` is waited for within a run.
const MOST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// How delays grow from attempt to attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Always the first delay.
    Fixed,
    /// The first delay times the number of attempts that failed.
    Linear,
    /// The first delay, multiplied after every attempt that failed.
    Exponential,
}

/// How much of a delay is left to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelayJitter {
    /// Nothing.
    None,
    /// All of it: anything from nothing to the delay.
    Full,
}

/// How often a node is attempted within one run, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// How delays grow.
    pub backoff: Backoff,
    /// The delay after the first failed attempt.
    pub initial_delay: Duration,
    /// The longest delay; a target's `Retry-After` may ask for more.
    pub max_delay: Duration,
    /// By how much an exponential delay grows.
    pub multiplier: f64,
    /// How much is left to chance.
    pub jitter: DelayJitter,
    /// The classes of failures that another attempt is made after.
    pub retry_on: Vec<ErrorClass>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Backoff::Exponential,
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_mins(1),
            multiplier: 2.0,
            jitter: DelayJitter::None,
            retry_on: vec![
                ErrorClass::Transient,
                ErrorClass::Timeout,
                ErrorClass::RateLimited,
                ErrorClass::InDoubt,
            ],
        }
    }
}

impl RetryPolicy {
    /// Whether another attempt is made after one that failed with this class, `attempts` having
    /// been made in this run. A call in doubt that must not be repeated unasked never is.
    #[must_use]
    pub fn allows(&self, class: ErrorClass, effects: SideEffects, attempts: usize) -> bool {
        let is_left = attempts < usize::try_from(self.max_attempts).unwrap_or(usize::MAX);
        let is_unsafe = class == ErrorClass::InDoubt && effects == SideEffects::Unsafe;
        is_left && !is_unsafe && self.retry_on.contains(&class)
    }

    /// The delay after `failed` attempts (1 after the first). `retry_after_ms` is what the target
    /// asked for: it is waited for at least so long, at most a day. `chance` is from 0 to 1.
    #[must_use]
    pub fn delay(&self, failed: u32, retry_after_ms: Option<u64>, chance: f64) -> Duration {
        let failed = failed.max(1);
        let plain = match self.backoff {
            Backoff::Fixed => self.initial_delay,
            Backoff::Linear => self.initial_delay.saturating_mul(failed),
            Backoff::Exponential => {
                exponential(self.initial_delay, self.multiplier, self.max_delay, failed)
            }
        };
        let plain = plain.min(self.max_delay);
        let delay = match self.jitter {
            DelayJitter::None => plain,
            DelayJitter::Full => plain.mul_f64(chance.clamp(0.0, 1.0)),
        };
        let asked = Duration::from_millis(retry_after_ms.unwrap_or(0)).min(MOST_RETRY_AFTER);
        delay.max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(backoff: Backoff) -> RetryPolicy {
        RetryPolicy {
            backoff,
            initial_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(1),
            multiplier: 3.0,
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn the_actual_delays() {
        let delays = |policy: &RetryPolicy| {
            let delay = |failed| policy.delay(failed, None, 0.5).as_millis();
            [1, 2, 3, 4, 1_000_000].map(delay)
        };
        assert_eq!(delays(&policy(Backoff::Fixed)), [200; 5]);
        assert_eq!(
            delays(&policy(Backoff::Linear)),
            [200, 400, 600, 800, 1_000]
        );
        assert_eq!(
            delays(&policy(Backoff::Exponential)),
            [200, 600, 1_000, 1_000, 1_000]
        );
        let jittered = RetryPolicy {
            jitter: DelayJitter::Full,
            ..policy(Backoff::Exponential)
        };
        assert_eq!(delays(&jittered), [100, 300, 500, 500, 500]);
        assert_eq!(jittered.delay(1, None, 0.0), Duration::ZERO);
        let flat = RetryPolicy {
            multiplier: 1.0,
            ..policy(Backoff::Exponential)
        };
        assert_eq!(delays(&flat), [200; 5]);
    }

    #[test]
    fn the_target_may_ask_for_more_but_not_for_ever() {
        let policy = policy(Backoff::Fixed);
        assert_eq!(policy.delay(1, Some(5_000), 0.5), Duration::from_secs(5));
        assert_eq!(policy.delay(1, Some(5), 0.5), Duration::from_millis(200));
        assert_eq!(policy.delay(1, Some(u64::MAX), 0.5), MOST_RETRY_AFTER);
    }

    #[test]
    fn only_what_may_be_repeated_is() {
        use ErrorClass as C;
        use SideEffects as E;
        let policy = RetryPolicy::default();
        for class in [C::Transient, C::Timeout, C::RateLimited, C::InDoubt] {
            assert!(policy.allows(class, E::Assumed, 2), "{class:?}");
            assert!(!policy.allows(class, E::Assumed, 3), "{class:?}");
        }
        for class in [
            C::Permanent,
            C::Expression,
            C::Definition,
            C::Cancelled,
            C::Internal,
        ] {
            assert!(!policy.allows(class, E::None, 1), "{class:?}");
        }
        assert!(!policy.allows(C::InDoubt, E::Unsafe, 1));
        assert!(policy.allows(C::Transient, E::Unsafe, 1));
    }
}
