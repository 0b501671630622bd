//! Exponential backoff with jitter: how long to wait before the next attempt.
//!
//! Pure: it reads no clock, and random bits are passed in.

use std::time::Duration;

/// The wait after this many consecutive failures: it doubles from `first` up to `max`.
#[must_use]
pub(crate) fn exponential(first: Duration, max: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(max)
}

/// A random part of `range`, so that replicas do not retry in lockstep. `random` are random bits.
#[must_use]
pub(crate) fn jitter(range: Duration, random: u32) -> Duration {
    range.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// The waits between consecutive failed attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, max: Duration) -> Self {
        Backoff {
            first,
            max,
            failures: 0,
        }
    }

    /// The wait after another failure.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        exponential(self.first, self.max, self.failures)
    }

    /// As [`Backoff::next`], with equal jitter: a random time between half of that wait and all of it.
    pub(crate) fn next_with_jitter(&mut self, random: u32) -> Duration {
        let half = self.next() / 2;
        half + jitter(half, random)
    }

    /// An attempt has succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(10);

    #[test]
    fn waits_double_up_to_the_maximum() {
        let mut backoff = Backoff::new(FIRST, MAX);
        let waits: Vec<_> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(backoff.next(), FIRST);
        assert_eq!(exponential(FIRST, MAX, 0), FIRST);
        assert_eq!(exponential(FIRST, MAX, u32::MAX), MAX);
    }

    #[test]
    fn jitter_shortens_a_wait_by_up_to_half() {
        let next = |random| Backoff::new(FIRST, MAX).next_with_jitter(random);
        assert_eq!((next(0), next(u32::MAX)), (FIRST / 2, FIRST));
        let half = next(u32::MAX / 2);
        assert!(FIRST / 2 < half && half < FIRST);
    }
}
