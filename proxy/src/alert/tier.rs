//! The tier of one series, with hysteresis against flapping.
//!
//! Pure: the time is passed in. The tier rises once the value has been beyond a threshold for the whole of
//! `for`, and recovers once the value has been at the recovery threshold or better for as long; between the
//! thresholds it does not change. Critical recovers to none directly and never falls to warning. While there is
//! no value, because there is too little traffic, the tier is held; after [`FORGET_AFTER`] it is dropped.
//!
//! The Prometheus rules reach the same tiers with a recorded series that refers to itself, so each step here
//! is one evaluation there: "for the whole of `for`" means that all samples of a window are beyond the
//! threshold, and that none is missing.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A series without a value for longer than this loses its tier.
pub const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// Values are rounded to a millionth, as Prometheus' `round(value, 1e-6)` does: the noise of binary fractions
/// must not decide at a threshold.
const PARTS: f64 = 1e6;

/// The severity of an alert. The numbers are those of `weir_alert_tier`.
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

/// In which direction a value gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Such as an error rate.
    Up,
    /// Such as a cache hit ratio.
    Down,
}

/// When a tier changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    pub worse: Worse,
    /// Beyond it: warning.
    pub warning: f64,
    /// Beyond it: critical.
    pub critical: f64,
    /// At it or better: none.
    pub recovery: f64,
    /// How long a value must be beyond a threshold before the tier changes.
    pub hold: Duration,
    /// Between two steps; more than zero.
    pub interval: Duration,
}

impl Thresholds {
    /// How many samples in a row change the tier: the first and one for each interval of `hold`.
    #[must_use]
    pub fn samples(&self) -> usize {
        let interval = self.interval.as_nanos().max(1);
        let steps = self.hold.as_nanos().div_ceil(interval);
        usize::try_from(steps).unwrap_or(usize::MAX - 1) + 1
    }

    /// The time that those samples span, with half an interval of tolerance for a late step.
    #[must_use]
    pub fn window(&self) -> Duration {
        let steps = u32::try_from(self.samples() - 1).unwrap_or(u32::MAX);
        self.interval.saturating_mul(steps) + self.interval / 2
    }

    fn is_beyond(&self, value: f64, threshold: f64) -> bool {
        match self.worse {
            Worse::Up => value > threshold,
            Worse::Down => value < threshold,
        }
    }
}

/// The result of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierStep {
    pub tier: Tier,
    pub sample: SampleState,
    /// The tier before, when it was a different one.
    pub changed_from: Option<Tier>,
}

/// Whether the tier of a step is based on a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleState {
    /// The step had a value.
    Current,
    /// There is too little traffic for a value: the last tier is held.
    Held,
    /// There has been no value for [`FORGET_AFTER`], or never.
    Missing,
}

/// The memory of one series, bounded whatever the traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hysteresis {
    tier: Option<Tier>,
    /// The values of the window, each with its time.
    samples: VecDeque<(Duration, f64)>,
    last_at: Option<Duration>,
}

impl Hysteresis {
    /// Restores the tier from when the last process ended; its last value was at `last_at`.
    #[must_use]
    pub fn resumed(tier: Tier, last_at: Duration) -> Self {
        Hysteresis {
            tier: Some(tier),
            samples: VecDeque::new(),
            last_at: Some(last_at),
        }
    }

    /// The values that count for `for`, each with its time, and the time of the last value.
    #[must_use]
    pub fn samples(&self) -> (Vec<(Duration, f64)>, Option<Duration>) {
        (self.samples.iter().copied().collect(), self.last_at)
    }

    /// Continues from the values of [`Hysteresis::samples`].
    pub fn resume_samples(&mut self, samples: Vec<(Duration, f64)>, last_at: Option<Duration>) {
        self.samples = samples.into();
        self.last_at = last_at.or(self.last_at);
    }

    /// Nothing can have a value any more: the next step starts from none.
    pub fn forget(&mut self) {
        self.samples.clear();
        self.last_at = None;
    }

    /// The next values are of another signal: they alone decide when the tier changes.
    pub fn forget_values(&mut self) {
        self.samples.clear();
    }

    /// The time of the last value, since the Unix epoch.
    #[must_use]
    pub fn last_at(&self) -> Option<Duration> {
        self.last_at
    }

    /// One evaluation, `now` after the Unix epoch and not before the last; `value` is `None` where
    /// there is too little traffic for one.
    pub fn step(&mut self, thresholds: &Thresholds, now: Duration, value: Option<f64>) -> TierStep {
        let value = value.filter(|value| value.is_finite());
        if let Some(value) = value {
            let rounded = (value * PARTS + 0.5).floor() / PARTS;
            self.samples.push_back((now, rounded));
            self.last_at = Some(now);
        }
        while self.is_outdated(thresholds, now) {
            self.samples.pop_front();
        }
        let is_remembered = self
            .last_at
            .is_some_and(|at| now.saturating_sub(at) <= FORGET_AFTER);
        let before = self.tier.filter(|_| is_remembered);
        let all = |is: &dyn Fn(f64) -> bool| {
            self.samples.len() >= thresholds.samples() && self.samples.iter().all(|(_, it)| is(*it))
        };
        let tier = if all(&|it| thresholds.is_beyond(it, thresholds.critical)) {
            Some(Tier::Critical)
        } else if all(&|it| !thresholds.is_beyond(it, thresholds.recovery)) {
            Some(Tier::None)
        } else if before == Some(Tier::Critical) {
            before
        } else if all(&|it| thresholds.is_beyond(it, thresholds.warning)) {
            Some(Tier::Warning)
        } else {
            before.or(is_remembered.then_some(Tier::None))
        };
        let sample = match (value, tier) {
            (Some(_), _) => SampleState::Current,
            (None, Some(_)) => SampleState::Held,
            (None, None) => SampleState::Missing,
        };
        let last = self.tier.unwrap_or(Tier::None);
        self.tier = tier;
        let tier = tier.unwrap_or(Tier::None);
        TierStep {
            tier,
            sample,
            changed_from: (last != tier).then_some(last),
        }
    }

    fn is_outdated(&self, thresholds: &Thresholds, now: Duration) -> bool {
        let oldest = self.samples.front();
        oldest.is_some_and(|(at, _)| {
            now.saturating_sub(*at) > thresholds.window()
                || self.samples.len() > thresholds.samples()
        })
    }
}

#[cfg(test)]
#[path = "tier_tests.rs"]
mod tests;
