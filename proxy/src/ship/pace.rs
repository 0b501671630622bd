//! The limit of concurrent requests (AIMD), and the backoff between attempts. Pure: no clock, no randomness.

use std::time::Duration;

use crate::backoff::Backoff;

/// The most concurrent requests: each holds a batch in memory.
const LIMIT_MAX: usize = 4;

/// The AIMD (additive increase, multiplicative decrease) limit of concurrent requests: it grows by one after a
/// round of successes and halves on backpressure.
#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    limit: usize,
    /// Successes since the limit last changed.
    successes: usize,
}

impl ConcurrencyLimit {
    pub(super) fn new() -> Self {
        ConcurrencyLimit {
            limit: 1,
            successes: 0,
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn on_success(&mut self) {
        self.successes += 1;
        if self.successes >= self.limit {
            self.successes = 0;
            self.limit = (self.limit + 1).min(LIMIT_MAX);
        }
    }

    pub(super) fn on_backpressure(&mut self) {
        self.successes = 0;
        self.limit = (self.limit / 2).max(1);
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The waits between attempts.
pub(super) const fn backoff() -> Backoff {
    Backoff::new(FIRST_WAIT, WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_grows_by_one_a_round_and_halves_on_backpressure() {
        let mut limit = ConcurrencyLimit::new();
        let mut limits = Vec::new();
        for _ in 0..10 {
            limit.on_success();
            limits.push(limit.limit());
        }
        assert_eq!(limits, [2, 2, 3, 3, 3, 4, 4, 4, 4, 4]);
        limit.on_backpressure();
        assert_eq!(limit.limit(), 2);
        limit.on_backpressure();
        limit.on_backpressure();
        assert_eq!(limit.limit(), 1);
    }
}
