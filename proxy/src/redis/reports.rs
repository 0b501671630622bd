//! What the log states about the connection: why there is none, and that there is one again.
//!
//! A connection that is lost again and again must not fill the log. Pure: the time is passed in.

use std::time::{Duration, Instant};

use crate::log_throttle::{LogDecision, ReasonThrottle};

/// The reports of one Redis.
#[derive(Debug)]
pub(super) struct ConnectionReports {
    failures: ReasonThrottle,
    /// The last reason, while there is no connection.
    reason: Option<String>,
    logged: LastLine,
}

/// The last line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastLine {
    None,
    Failure,
    Connected,
}

impl ConnectionReports {
    pub(super) const fn every(interval: Duration) -> Self {
        ConnectionReports {
            failures: ReasonThrottle::every(interval),
            reason: None,
            logged: LastLine::None,
        }
    }

    /// Notes why there is no connection, and decides whether it is logged.
    pub(super) fn failed(&mut self, reason: &str, now: Instant) -> LogDecision {
        self.reason = Some(reason.to_owned());
        let decision = self.failures.failed(reason, now);
        if decision == LogDecision::Log {
            self.logged = LastLine::Failure;
        }
        decision
    }

    /// Notes a connection, and decides whether it is logged: only if the log states otherwise.
    pub(super) fn connected(&mut self) -> LogDecision {
        self.reason = None;
        match std::mem::replace(&mut self.logged, LastLine::Connected) {
            LastLine::Connected => LogDecision::Suppress,
            LastLine::None | LastLine::Failure => LogDecision::Log,
        }
    }

    /// Notes that the connection is stable: the next failure is logged at once.
    pub(super) fn stable(&mut self) {
        self.failures.recovered();
    }

    /// Why there is no connection.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_connection_that_is_lost_again_and_again_is_logged_once() {
        use LogDecision::{Log, Suppress};
        let (second, now) = (Duration::from_secs(1), clock::now());
        let mut reports = ConnectionReports::every(second * 60);
        assert_eq!(reports.connected(), Log, "the first connection");
        assert_eq!(reports.failed("late", now), Log);
        assert_eq!(reports.reason(), Some("late"));
        assert_eq!(reports.failed("refused", now), Log, "another reason");
        assert_eq!(reports.connected(), Log);
        assert_eq!(reports.reason(), None);
        for _ in 0..3 {
            assert_eq!(reports.failed("late", now + second), Suppress);
            assert_eq!(reports.connected(), Suppress);
        }
        reports.stable();
        assert_eq!(reports.failed("late", now + second), Log);
        assert_eq!(reports.failed("late", now + second * 60), Suppress);
        assert_eq!(reports.failed("late", now + second * 61), Log);
    }
}
