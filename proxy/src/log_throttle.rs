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

/// So many reasons are distinguished within an interval; others are not logged.
const REASONS_MAX: usize = 16;

/// Limits the log lines of failures with various reasons: each reason is logged once per interval, so that reasons that
/// alternate do not fill the log.
#[derive(Debug)]
pub struct ReasonThrottle {
    interval: Duration,
    logged: Vec<(String, Instant)>,
}

impl ReasonThrottle {
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        ReasonThrottle {
            interval,
            logged: Vec::new(),
        }
    }

    /// Notes a failure and decides whether it is logged.
    pub fn failed(&mut self, reason: &str, now: Instant) -> LogDecision {
        let interval = self.interval;
        self.logged
            .retain(|(_, at)| now.saturating_duration_since(*at) < interval);
        let is_logged = self.logged.iter().any(|(logged, _)| logged == reason);
        if is_logged || self.logged.len() >= REASONS_MAX {
            return LogDecision::Suppress;
        }
        self.logged.push((reason.to_owned(), now));
        LogDecision::Log
    }

    /// Notes a success: the next failure is logged at once.
    pub fn recovered(&mut self) {
        self.logged.clear();
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

    #[test]
    fn each_reason_is_logged_once_per_interval() {
        let second = Duration::from_secs(1);
        let (mut throttle, start) = (ReasonThrottle::every(second * 60), clock::now());
        for reason in ["full", "late"] {
            assert_eq!(throttle.failed(reason, start), LogDecision::Log);
        }
        for reason in ["full", "late", "full"] {
            let decision = throttle.failed(reason, start + second * 59);
            assert_eq!(decision, LogDecision::Suppress);
        }
        assert_eq!(
            throttle.failed("late", start + second * 60),
            LogDecision::Log
        );
        throttle.recovered();
        assert_eq!(
            throttle.failed("late", start + second * 61),
            LogDecision::Log
        );
        for number in 0..100 {
            throttle.failed(&number.to_string(), start + second * 61);
        }
        assert_eq!(throttle.logged.len(), REASONS_MAX, "bounded");
    }
}
