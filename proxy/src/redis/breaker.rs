//! The circuit breaker of the connection: after a few consecutive failures commands are skipped, until a probe in the
//! background has succeeded.
//!
//! It is read by every command on every worker, so it has no lock: the number of consecutive failures is the state.

use std::sync::atomic::{AtomicU32, Ordering};

/// This many consecutive failures open the circuit.
const FAILURES_MAX: u32 = 3;
/// The value of an open circuit.
const OPEN: u32 = u32::MAX;

/// What a report has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BreakerChange {
    None,
    Opened,
}

/// A breaker; it is open until the first connection.
#[derive(Debug)]
pub(super) struct CommandBreaker {
    consecutive_failures: AtomicU32,
}

impl CommandBreaker {
    pub(super) const fn new() -> Self {
        CommandBreaker {
            consecutive_failures: AtomicU32::new(OPEN),
        }
    }

    /// Whether commands are sent.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.consecutive_failures.load(Ordering::Relaxed) != OPEN
    }

    /// A command succeeded. One that was sent before the circuit opened does not close it.
    #[inline]
    pub(super) fn succeeded(&self) {
        let failures = self.consecutive_failures.load(Ordering::Relaxed);
        if failures != 0 && failures != OPEN {
            // If another command fails meanwhile, its failure counts.
            let _ = self.consecutive_failures.compare_exchange(
                failures,
                0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// A command failed or timed out.
    pub(super) fn failed(&self) -> BreakerChange {
        let next = |failures: u32| match failures {
            OPEN => None,
            failures if failures + 1 >= FAILURES_MAX => Some(OPEN),
            failures => Some(failures + 1),
        };
        let order = Ordering::Relaxed;
        let before = self.consecutive_failures.fetch_update(order, order, next);
        match before {
            Ok(before) if before + 1 >= FAILURES_MAX => BreakerChange::Opened,
            Ok(_) | Err(_) => BreakerChange::None,
        }
    }

    /// The connection is known to be useless.
    pub(super) fn trip(&self) -> BreakerChange {
        match self.consecutive_failures.swap(OPEN, Ordering::Relaxed) {
            OPEN => BreakerChange::None,
            _ => BreakerChange::Opened,
        }
    }

    /// A probe succeeded.
    pub(super) fn close(&self) {
        self.consecutive_failures.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_consecutive_failures_open_the_circuit_and_only_a_probe_closes_it() {
        let breaker = CommandBreaker::new();
        assert!(!breaker.is_closed(), "open until the first connection");
        assert_eq!(breaker.failed(), BreakerChange::None);
        breaker.succeeded();
        assert!(!breaker.is_closed());
        breaker.close();
        assert!(breaker.is_closed());
        assert_eq!(breaker.failed(), BreakerChange::None);
        assert_eq!(breaker.failed(), BreakerChange::None);
        breaker.succeeded();
        assert_eq!(breaker.failed(), BreakerChange::None);
        assert_eq!(breaker.failed(), BreakerChange::None);
        assert!(breaker.is_closed());
        assert_eq!(breaker.failed(), BreakerChange::Opened);
        assert_eq!(breaker.failed(), BreakerChange::None, "reported once");
        breaker.succeeded();
        assert!(!breaker.is_closed());
        breaker.close();
        assert_eq!(breaker.trip(), BreakerChange::Opened);
        assert_eq!(breaker.trip(), BreakerChange::None);
        assert!(!breaker.is_closed());
    }
}
