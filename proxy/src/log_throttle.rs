//! Rate-limits log lines: a failure that lasts is logged once per interval.
//!
//! Pure: the time is passed in.

use std::time::{Duration, Instant};

/// Limits the log lines of one kind of failure.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    logged_at: Option<Instant>,
}

/// Whether a failure is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogDecision {
    Log,
    Suppress,
}

impl LogThrottle {
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        LogThrottle {
            interval,
            logged_at: None,
        }
    }

    /// Notes a failure and decides whether it is logged.
    pub fn failed(&mut self, now: Instant) -> LogDecision {
        let is_due = self
            .logged_at
            .is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if !is_due {
            return LogDecision::Suppress;
        }
        self.logged_at = Some(now);
        LogDecision::Log
    }

    /// Notes a success: the next failure is logged at once. Returns whether a failure had been logged, so
    /// that the recovery can be logged too.
    pub fn recovered(&mut self) -> bool {
        self.logged_at.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_failure_is_logged_once_per_interval_and_again_after_a_recovery() {
        let second = Duration::from_secs(1);
        let (mut throttle, start) = (LogThrottle::every(second * 60), clock::now());
        assert!(!throttle.recovered());
        assert_eq!(throttle.failed(start), LogDecision::Log);
        assert_eq!(throttle.failed(start + second * 59), LogDecision::Suppress);
        assert_eq!(throttle.failed(start + second * 60), LogDecision::Log);
        assert_eq!(throttle.failed(start + second * 61), LogDecision::Suppress);
        assert!(throttle.recovered());
        assert_eq!(throttle.failed(start + second * 62), LogDecision::Log);
    }
}
