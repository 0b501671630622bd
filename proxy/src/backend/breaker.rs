//! The circuit breaker of one endpoint: closed, open, half-open (passive outlier detection).
//!
//! Closed, it counts how requests end in a sliding window. When enough of them have failed it opens, and the endpoint
//! gets no requests for `open_for`. After that it is half-open: one request at a time, the probe, is let through. A
//! probe that succeeds closes the breaker, one that fails opens it again.
//!
//! Pure: the clock is passed in.

use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerConfig {
    /// The share of failures at which it opens: above 0, at most 1.
    pub failure_ratio: f64,
    /// With fewer requests in the window it stays closed.
    pub minimum_requests: u32,
    pub window: Duration,
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        BreakerConfig {
            failure_ratio: 0.5,
            minimum_requests: 20,
            window: Duration::from_secs(10),
            open_for: Duration::from_secs(15),
        }
    }
}

/// Whether a breaker lets one more request through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitAdmission {
    /// Closed: the request is counted.
    Closed,
    /// Half-open: the request decides whether it closes.
    Probe,
    /// Open, or a probe is in flight.
    Rejected,
}

/// How a request to the endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointOutcome {
    Success,
    Failure,
    /// Ended early through no fault of the endpoint: it proves nothing.
    Abandoned,
}

/// A change of state, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitChange {
    Opened,
    Closed,
}

/// The state as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    Open { until: Instant },
    HalfOpen,
}

/// The state machine.
#[derive(Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: State,
    window: OutcomeWindow,
    /// What was in the window when it opened.
    cause: OutcomeCounts,
}

/// Why a circuit opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitCause {
    /// Requests in the window.
    pub requests: u32,
    pub failures: u32,
    pub window: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    Probing,
}

impl Breaker {
    #[must_use]
    pub fn new(config: BreakerConfig, now: Instant) -> Self {
        Breaker {
            config,
            state: State::Closed,
            window: OutcomeWindow::new(config.window, now),
            cause: OutcomeCounts::default(),
        }
    }

    /// Whether a request may be sent to the endpoint now. A `Probe` must be followed by [`Breaker::record`].
    pub fn admit(&mut self, now: Instant) -> CircuitAdmission {
        match self.state {
            State::Closed => CircuitAdmission::Closed,
            State::Open { until } if now >= until => {
                self.state = State::Probing;
                CircuitAdmission::Probe
            }
            State::Open { .. } | State::Probing => CircuitAdmission::Rejected,
        }
    }

    /// Records how a request ended that had been admitted, or that was sent in spite of a rejection.
    pub fn record(
        &mut self,
        admission: CircuitAdmission,
        outcome: EndpointOutcome,
        now: Instant,
    ) -> Option<CircuitChange> {
        match (self.state, admission) {
            (State::Closed, _) => {
                self.window.add(outcome, now);
                let is_open = self.window.has_failed(&self.config);
                is_open.then(|| self.open(now))
            }
            (State::Probing, CircuitAdmission::Probe) => match outcome {
                EndpointOutcome::Success => Some(self.close(now)),
                EndpointOutcome::Failure => {
                    self.open(now);
                    None
                }
                // The next request probes.
                EndpointOutcome::Abandoned => {
                    self.state = State::Open { until: now };
                    None
                }
            },
            // Requests that were in flight when it opened prove nothing new; one that was sent in spite of a rejection
            // and succeeds is as good as a probe.
            (State::Open { .. } | State::Probing, CircuitAdmission::Rejected)
                if outcome == EndpointOutcome::Success =>
            {
                Some(self.close(now))
            }
            (State::Open { .. } | State::Probing, _) => None,
        }
    }

    /// Until when the endpoint gets no requests, if it gets none now. While a probe is under way that is not known.
    #[must_use]
    pub fn rejects_until(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { until } => Some(until).filter(|until| now < *until),
            State::Probing => Some(now),
        }
    }

    #[must_use]
    pub fn state(&self, now: Instant) -> CircuitState {
        match self.state {
            State::Closed => CircuitState::Closed,
            State::Open { until } if now < until => CircuitState::Open { until },
            State::Open { .. } | State::Probing => CircuitState::HalfOpen,
        }
    }

    /// Why it is not closed; `None` if it is.
    #[must_use]
    pub fn cause(&self) -> Option<CircuitCause> {
        (self.state != State::Closed).then(|| CircuitCause {
            requests: self.cause.successes.saturating_add(self.cause.failures),
            failures: self.cause.failures,
            window: self.config.window,
        })
    }

    fn open(&mut self, now: Instant) -> CircuitChange {
        // A probe that fails changes nothing about the cause.
        if self.state == State::Closed {
            self.cause = self.window.total;
        }
        self.state = State::Open {
            until: now + self.config.open_for,
        };
        self.window.clear();
        CircuitChange::Opened
    }

    fn close(&mut self, now: Instant) -> CircuitChange {
        self.state = State::Closed;
        self.window = OutcomeWindow::new(self.config.window, now);
        CircuitChange::Closed
    }
}

/// The parts of a window; the oldest is dropped as a whole.
const PARTS: usize = 10;

/// Successes and failures of the last `window`, to a tenth of it.
#[derive(Debug)]
struct OutcomeWindow {
    origin: Instant,
    part_ns: u64,
    /// The number of the newest part.
    newest: u64,
    parts: [OutcomeCounts; PARTS],
    total: OutcomeCounts,
}

#[derive(Clone, Copy, Debug, Default)]
struct OutcomeCounts {
    successes: u32,
    failures: u32,
}

impl OutcomeWindow {
    fn new(window: Duration, now: Instant) -> Self {
        let part_ns = u64::try_from(window.as_nanos() / PARTS as u128).unwrap_or(u64::MAX);
        OutcomeWindow {
            origin: now,
            part_ns: part_ns.max(1),
            newest: 0,
            parts: [OutcomeCounts::default(); PARTS],
            total: OutcomeCounts::default(),
        }
    }

    fn clear(&mut self) {
        self.parts = [OutcomeCounts::default(); PARTS];
        self.total = OutcomeCounts::default();
    }

    fn add(&mut self, outcome: EndpointOutcome, now: Instant) {
        self.advance(now);
        let part = &mut self.parts[index(self.newest)];
        match outcome {
            EndpointOutcome::Success => {
                part.successes = part.successes.saturating_add(1);
                self.total.successes = self.total.successes.saturating_add(1);
            }
            EndpointOutcome::Failure => {
                part.failures = part.failures.saturating_add(1);
                self.total.failures = self.total.failures.saturating_add(1);
            }
            EndpointOutcome::Abandoned => {}
        }
    }

    /// Whether enough of the requests have failed, directly after one was added.
    fn has_failed(&self, config: &BreakerConfig) -> bool {
        let OutcomeCounts {
            successes,
            failures,
        } = self.total;
        let requests = successes.saturating_add(failures);
        requests >= config.minimum_requests
            && failures > 0
            && f64::from(failures) >= config.failure_ratio * f64::from(requests)
    }

    /// Drops the parts that the window has left.
    fn advance(&mut self, now: Instant) {
        let elapsed_ns = now.saturating_duration_since(self.origin).as_nanos();
        let part = u64::try_from(elapsed_ns).unwrap_or(u64::MAX) / self.part_ns;
        let passed = part.saturating_sub(self.newest);
        if passed == 0 {
            return;
        }
        for step in 1..=passed.min(PARTS as u64) {
            let dropped = std::mem::take(&mut self.parts[index(self.newest + step)]);
            self.total.successes -= dropped.successes;
            self.total.failures -= dropped.failures;
        }
        self.newest = part;
    }
}

fn index(part: u64) -> usize {
    // Less than `PARTS`.
    (part % PARTS as u64) as usize
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
