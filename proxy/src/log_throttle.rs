//! Keeps a failure that goes on from filling the log.
//!
//! Pure: the time is passed in.

use std::time::{Duration, Instant};

/// A failure that is told at most once an interval.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    told_at: Option<Instant>,
}

/// Whether a failure is to be told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Due,
    TooSoon,
}

impl LogThrottle {
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        LogThrottle {
            interval,
            told_at: None,
        }
    }

    /// Notes a failure. When it is due it counts as told.
    pub fn note(&mut self, now: Instant) -> Telling {
        let is_due = self
            .told_at
            .is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if !is_due {
            return Telling::TooSoon;
        }
        self.told_at = Some(now);
        Telling::Due
    }

    /// Notes that it works. The next failure is told at once; whether one had been told is returned, so
    /// that its end can be told as well.
    pub fn over(&mut self) -> bool {
        self.told_at.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_failure_is_told_once_an_interval_and_anew_after_its_end() {
        let second = Duration::from_secs(1);
        let (mut complaint, start) = (LogThrottle::every(second * 60), clock::now());
        assert!(!complaint.over());
        assert_eq!(complaint.note(start), Telling::Due);
        assert_eq!(complaint.note(start + second * 59), Telling::TooSoon);
        assert_eq!(complaint.note(start + second * 60), Telling::Due);
        assert_eq!(complaint.note(start + second * 61), Telling::TooSoon);
        assert!(complaint.over());
        assert_eq!(complaint.note(start + second * 62), Telling::Due);
    }
}
