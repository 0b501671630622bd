//! The stages, and where the time of a request went.

use std::time::{Duration, Instant};

/// The stages of the request pipeline, in its order. Their names are the entries of `Server-Timing`, the keys
/// of an event's `weir.timing` and the spans of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Route,
    Body,
    Signature,
    Limit,
    Cache,
    Backend,
    Answer,
}

impl Stage {
    pub const ALL: [Stage; 7] = [
        Stage::Route,
        Stage::Body,
        Stage::Signature,
        Stage::Limit,
        Stage::Cache,
        Stage::Backend,
        Stage::Answer,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Route => "route",
            Stage::Body => "body",
            Stage::Signature => "signature",
            Stage::Limit => "limit",
            Stage::Cache => "cache",
            Stage::Backend => "backend",
            Stage::Answer => "answer",
        }
    }
}

/// Where the time of a request went: a stopwatch whose laps are attributed to stages.
#[derive(Clone, Debug)]
pub struct Timing {
    started: Instant,
    lap_started: Instant,
    current: Stage,
    spent: [Option<Duration>; Stage::ALL.len()],
    /// Time spent waiting for the client to send its body or to read its response: no overhead of weir.
    client_wait: Duration,
}

impl Timing {
    #[must_use]
    pub fn start(now: Instant) -> Self {
        Timing {
            started: now,
            lap_started: now,
            current: Stage::Route,
            spent: [None; Stage::ALL.len()],
            client_wait: Duration::ZERO,
        }
    }

    /// Ends the current stage and begins `stage`.
    pub fn enter(&mut self, stage: Stage, now: Instant) {
        self.lap(self.current, now);
        self.current = stage;
    }

    /// Begins `stage` when the current one began, because that has nothing to do for this request. Without reading the
    /// clock, which takes as long as such a stage.
    pub fn skip_to(&mut self, stage: Stage) {
        self.enter(stage, self.lap_started);
    }

    /// Ends the current stage, the last.
    pub fn finish(&mut self, now: Instant) {
        self.lap(self.current, now);
    }

    /// Attributes the time since the last lap to `stage`, which may have several laps.
    pub fn lap(&mut self, stage: Stage, now: Instant) {
        let lap = now.saturating_duration_since(self.lap_started);
        *self.spent[stage as usize].get_or_insert(Duration::ZERO) += lap;
        self.lap_started = now;
    }

    /// Adds to the time spent waiting for the client.
    pub fn add_client_wait(&mut self, wait: Duration) {
        self.client_wait += wait;
    }

    /// `None` when the request never entered this stage.
    #[must_use]
    pub fn spent(&self, stage: Stage) -> Option<Duration> {
        self.spent[stage as usize]
    }

    /// Whether a stage has ended.
    #[must_use]
    pub fn has_laps(&self) -> bool {
        self.spent.iter().any(Option::is_some)
    }

    /// When the last lap ended and the current one began.
    #[must_use]
    pub fn lap_started(&self) -> Instant {
        self.lap_started
    }

    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// From the head of the request to the last lap.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.lap_started.saturating_duration_since(self.started)
    }

    /// The time that weir itself added: all but the backend's and the waits for the client.
    #[must_use]
    pub fn overhead(&self) -> Duration {
        let elsewhere = self.spent(Stage::Backend).unwrap_or_default() + self.client_wait;
        self.total().saturating_sub(elsewhere)
    }
}
