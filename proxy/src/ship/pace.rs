//! How fast to send, and when to try again: state machines without a clock or dice of their own.

use std::time::Duration;

use crate::backoff::Backoff;

/// Requests at once never exceed this: each holds a batch in memory.
const LIMIT_MAX: usize = 4;

/// How many requests may be under way: one more when a round of them went well, half of them when the
/// index pushes back (additive increase, multiplicative decrease).
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    /// Good answers since the limit last changed.
    good: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Window { limit: 1, good: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn went_well(&mut self) {
        self.good += 1;
        if self.good >= self.limit {
            self.good = 0;
            self.limit = (self.limit + 1).min(LIMIT_MAX);
        }
    }

    pub(super) fn pushed_back(&mut self) {
        self.good = 0;
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
    fn a_window_grows_by_one_a_round_and_shrinks_by_half() {
        let mut window = Window::new();
        let mut limits = Vec::new();
        for _ in 0..10 {
            window.went_well();
            limits.push(window.limit());
        }
        assert_eq!(limits, [2, 2, 3, 3, 3, 4, 4, 4, 4, 4]);
        window.pushed_back();
        assert_eq!(window.limit(), 2);
        window.pushed_back();
        window.pushed_back();
        assert_eq!(window.limit(), 1);
    }
}
