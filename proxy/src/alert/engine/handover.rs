//! What an engine hands over to that of a successor: the windows, and the values that count for `for`.
//!
//! Times are ages, because each process has its own monotonic clock.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Engine, EvaluationTime, RuleSeries};
use crate::alert::counters::MetricSubject;
use crate::alert::counts::Delta;
use crate::alert::histogram::Histogram;
use crate::alert::per::Per;
use crate::alert::snapshot::Snapshot;
use crate::alert::state::{AlertKey, AlertState};
use crate::alert::tier::Hysteresis;
use crate::alert::window::{Window, WindowSlot};

/// The state of an engine at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineState {
    /// With other buckets the windows mean something else.
    buckets: usize,
    whole: Vec<WindowSlot>,
    parts: Vec<PartWindow>,
    series: Vec<SavedSeries>,
}

/// The window of one label value.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PartWindow {
    per: Per,
    value: String,
    slots: Vec<WindowSlot>,
}

/// The values of one series.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedSeries {
    #[serde(flatten, with = "crate::alert::state::saved_key")]
    key: AlertKey,
    /// Values of another signal do not count.
    signal: String,
    samples: Vec<(Duration, f64)>,
    last_at: Option<Duration>,
}

impl Engine {
    /// What a successor continues from, with the counts since the last evaluation.
    #[must_use]
    pub fn hand_over(
        &mut self,
        now: EvaluationTime,
        taken: Vec<(MetricSubject, Delta)>,
        snapshot: &Snapshot,
    ) -> EngineState {
        let now_steady = now.steady;
        self.slide(now_steady, taken, snapshot);
        let age = |at: Duration| now_steady.saturating_sub(at);
        let slots = |window: &Window| shifted(window.slots().cloned(), age);
        let parts = self.parts.iter();
        let parts = parts.map(|((per, value), window)| PartWindow {
            per: *per,
            value: value.to_string(),
            slots: slots(window),
        });
        let rules = self.set.rules.iter().zip(&self.series);
        let series = rules.flat_map(|(rule, series)| {
            series.values().map(|series| {
                let (samples, last_at) = series.hysteresis.samples();
                SavedSeries {
                    key: series.state.key.clone(),
                    signal: rule.signal.name.to_owned(),
                    samples: shifted_samples(samples, age),
                    last_at: last_at.map(age),
                }
            })
        });
        EngineState {
            buckets: Histogram::buckets(),
            whole: slots(&self.whole),
            parts: parts.collect(),
            series: series.collect(),
        }
    }

    /// Continues from what a predecessor handed over.
    pub fn resume(&mut self, state: EngineState, now: EvaluationTime) {
        let time = |age: Duration| now.steady.saturating_sub(age);
        if state.buckets == Histogram::buckets() {
            let (length, interval) = (self.set.window, self.set.interval);
            let window = |slots: Vec<WindowSlot>| {
                Window::resumed(length, interval, shifted(slots.into_iter(), time))
            };
            self.whole = window(state.whole);
            for part in state.parts {
                let value = Arc::from(part.value);
                if self.set.evaluates(part.per, &value) {
                    self.parts.insert((part.per, value), window(part.slots));
                }
            }
        }
        for series in state.series {
            let samples = shifted_samples(series.samples, time);
            let last_at = series.last_at.map(time);
            if let Some(known) = self.series_of(&series.key, &series.signal, now.wall) {
                known.hysteresis.resume_samples(samples, last_at);
            }
        }
    }

    /// The series with this key; `None` if no rule with this signal evaluates it.
    fn series_of(
        &mut self,
        key: &AlertKey,
        signal: &str,
        now: Duration,
    ) -> Option<&mut RuleSeries> {
        let position = self.set.position(key)?;
        let rule = self.set.rules.get(position)?;
        if rule.signal.name != signal {
            return None;
        }
        let label = key.label.as_ref().map(|(_, value)| value.clone());
        let series = self.series.get_mut(position)?.entry(label.clone());
        Some(series.or_insert_with(|| RuleSeries {
            hysteresis: Hysteresis::default(),
            state: AlertState::new(rule.clone(), label, self.identity.clone(), now),
        }))
    }
}

fn shifted(
    slots: impl Iterator<Item = WindowSlot>,
    shift: impl Fn(Duration) -> Duration,
) -> Vec<WindowSlot> {
    let slots = slots.map(|slot| WindowSlot {
        started: shift(slot.started),
        ended: shift(slot.ended),
        delta: slot.delta,
    });
    slots.collect()
}

fn shifted_samples(
    samples: Vec<(Duration, f64)>,
    shift: impl Fn(Duration) -> Duration,
) -> Vec<(Duration, f64)> {
    let samples = samples.into_iter();
    samples.map(|(at, value)| (shift(at), value)).collect()
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
