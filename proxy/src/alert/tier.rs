//! The tier of one rule over one series, as a state machine with a memory.
//!
//! Pure: the time is passed in. A tier goes up once the figure has been beyond its line for the whole of
//! `for`, and down once the figure has been at the recovery line or better for as long; between the
//! lines it stays. Critical goes down to none at once: there is no way from critical to warning. While
//! there is no figure, for want of traffic, the tier is held; after [`FORGET_AFTER`] it is forgotten.
//!
//! Prometheus' rules reach the same tiers by a recorded series that remembers itself, so each step here
//! is one evaluation there: "for the whole of `for`" means that all samples of a window are beyond the
//! line, and that none is missing.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A series without a figure for longer than this has no tier any more.
pub const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// Figures are compared as rounded to a millionth, as Prometheus' `round(figure, 1e-6)` does it: the noise
/// of binary fractions decides nothing at a line.
const PARTS: f64 = 1e6;

/// How bad it is. The numbers are those of `weir_alert_tier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    None = 0,
    Warning = 1,
    Critical = 2,
}

impl Tier {
    /// As alerts, events and pages name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::None => "none",
            Tier::Warning => "warning",
            Tier::Critical => "critical",
        }
    }
}

/// Which way a figure gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// As an error rate.
    Up,
    /// As the share of answers out of the cache.
    Down,
}

/// When a tier changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    pub worse: Worse,
    /// Beyond it: warning.
    pub warning: f64,
    /// Beyond it: critical.
    pub critical: f64,
    /// At it or better: none.
    pub recovery: f64,
    /// For how long, before the tier changes.
    pub hold: Duration,
    /// Between two steps; more than zero.
    pub interval: Duration,
}

impl Lines {
    /// Samples that say the same before the tier changes: the first and one for each interval of `hold`.
    #[must_use]
    pub fn samples(&self) -> usize {
        let interval = self.interval.as_nanos().max(1);
        let steps = self.hold.as_nanos().div_ceil(interval);
        usize::try_from(steps).unwrap_or(usize::MAX - 1) + 1
    }

    /// How far back those samples lie, with half an interval for a step that comes late.
    #[must_use]
    pub fn window(&self) -> Duration {
        let steps = u32::try_from(self.samples() - 1).unwrap_or(u32::MAX);
        self.interval.saturating_mul(steps) + self.interval / 2
    }

    fn is_beyond(&self, figure: f64, line: f64) -> bool {
        match self.worse {
            Worse::Up => figure > line,
            Worse::Down => figure < line,
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub tier: Tier,
    pub basis: Basis,
    /// The tier before, when it was another.
    pub changed_from: Option<Tier>,
}

/// What a tier rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A figure of this step.
    Measured,
    /// There is too little traffic for one: the tier is the last.
    Held,
    /// There has been none for [`FORGET_AFTER`], or never.
    Forgotten,
}

/// What is remembered of one series: bounded, whatever the traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    tier: Option<Tier>,
    /// The figures within the window, each with its time.
    samples: VecDeque<(Duration, f64)>,
    last_at: Option<Duration>,
}

impl Memory {
    /// Goes on from a tier that was in force when a process ended; its last figure was at `last_at`.
    #[must_use]
    pub fn resumed(tier: Tier, last_at: Duration) -> Self {
        Memory {
            tier: Some(tier),
            samples: VecDeque::new(),
            last_at: Some(last_at),
        }
    }

    /// There is nothing any more that could have a figure: the next step begins from none.
    pub fn forget(&mut self) {
        self.samples.clear();
        self.last_at = None;
    }

    /// When there was a figure last, since the Unix epoch.
    #[must_use]
    pub fn last_at(&self) -> Option<Duration> {
        self.last_at
    }

    /// One evaluation, `now` after the Unix epoch and not before the last; `figure` is `None` where
    /// there is too little traffic for one.
    pub fn step(&mut self, lines: &Lines, now: Duration, figure: Option<f64>) -> Step {
        let figure = figure.filter(|figure| figure.is_finite());
        if let Some(figure) = figure {
            let rounded = (figure * PARTS + 0.5).floor() / PARTS;
            self.samples.push_back((now, rounded));
            self.last_at = Some(now);
        }
        while self.is_outdated(lines, now) {
            self.samples.pop_front();
        }
        let is_remembered = self
            .last_at
            .is_some_and(|at| now.saturating_sub(at) <= FORGET_AFTER);
        let before = self.tier.filter(|_| is_remembered);
        let all = |is: &dyn Fn(f64) -> bool| {
            self.samples.len() >= lines.samples() && self.samples.iter().all(|(_, it)| is(*it))
        };
        let tier = if all(&|it| lines.is_beyond(it, lines.critical)) {
            Some(Tier::Critical)
        } else if all(&|it| !lines.is_beyond(it, lines.recovery)) {
            Some(Tier::None)
        } else if before == Some(Tier::Critical) {
            before
        } else if all(&|it| lines.is_beyond(it, lines.warning)) {
            Some(Tier::Warning)
        } else {
            before.or(is_remembered.then_some(Tier::None))
        };
        let basis = match (figure, tier) {
            (Some(_), _) => Basis::Measured,
            (None, Some(_)) => Basis::Held,
            (None, None) => Basis::Forgotten,
        };
        let last = self.tier.unwrap_or(Tier::None);
        self.tier = tier;
        let tier = tier.unwrap_or(Tier::None);
        Step {
            tier,
            basis,
            changed_from: (last != tier).then_some(last),
        }
    }

    fn is_outdated(&self, lines: &Lines, now: Duration) -> bool {
        let oldest = self.samples.front();
        oldest.is_some_and(|(at, _)| {
            now.saturating_sub(*at) > lines.window() || self.samples.len() > lines.samples()
        })
    }
}

#[cfg(test)]
#[path = "tier_tests.rs"]
mod tests;
