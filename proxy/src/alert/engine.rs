//! Evaluates all rules: counters become values, values become tiers.
//!
//! Pure: the time, the counts and the snapshot are passed in. Memory is bounded by the rules and by the label
//! values of their series, which are closed sets. A swap of generations replaces the rules ([`Engine::install`]):
//! windows, values and alert states carry over, and alerts that no rule evaluates any more are resolved.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counters::MetricSubject;
use super::counts::Delta;
use super::identity::AlertIdentity;
use super::per::Per;
use super::rule::Rule;
use super::rule_set::RuleSet;
use super::state::{AlertState, Saved, Transition};
use super::tier::{Hysteresis, SampleState, Tier};
use super::window::Window;
use crate::alert::snapshot::Snapshot;
use crate::clock;

mod handover;

pub use handover::EngineState;

/// One label value of a rule.
struct RuleSeries {
    hysteresis: Hysteresis,
    state: AlertState,
}

impl RuleSeries {
    /// As the last process or an earlier rule left it.
    fn resumed(state: AlertState) -> Self {
        RuleSeries {
            hysteresis: Hysteresis::resumed(state.tier, state.last_at),
            state,
        }
    }

    /// From now on `rule` evaluates it. Its thresholds apply to the values since the last evaluations as well;
    /// those of another signal are forgotten.
    fn adopt(&mut self, rule: &Arc<Rule>) {
        let before = self.state.rule.replace(rule.clone());
        if before.is_some_and(|before| before.signal != rule.signal) {
            self.hysteresis.forget_values();
            (self.state.value, self.state.about) = (None, None);
        }
    }
}

/// The label of model calls whose model is not known yet.
const UNKNOWN_MODEL: &str = "other";

/// The time of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct EvaluationTime {
    /// Monotonic: windows and tiers use it.
    pub steady: Duration,
    /// For people, since the Unix epoch. The wall clock may be set.
    pub wall: Duration,
}

impl EvaluationTime {
    /// At this moment, by a clock that was started at the second time since the Unix epoch.
    #[must_use]
    pub fn at(now: Instant, (started, started_at): (Instant, Duration)) -> Self {
        EvaluationTime {
            steady: started_at + now.saturating_duration_since(started),
            wall: clock::unix_now(),
        }
    }
}

/// All rules with the state of their series.
pub struct Engine {
    set: RuleSet,
    /// The labels of alerts raised from now on.
    identity: Arc<AlertIdentity>,
    /// Over all traffic.
    whole: Window,
    parts: HashMap<(Per, Arc<str>), Window>,
    /// In the order of the rules, by label value.
    series: Vec<BTreeMap<Option<Arc<str>>, RuleSeries>>,
    /// Alerts whose rule was removed.
    orphans: Vec<AlertState>,
    events_dropped: u64,
}

impl Engine {
    /// Restores the alerts that were firing when the last process ended.
    #[must_use]
    pub fn new(set: RuleSet, identity: Arc<AlertIdentity>, saved: &[Saved]) -> Self {
        let restored = saved.iter().map(|saved| {
            let state = AlertState::of_saved(saved, &identity);
            RuleSeries::resumed(state)
        });
        let restored: Vec<_> = restored.collect();
        let mut engine = Engine {
            whole: Window::new(set.window, set.interval),
            set,
            identity,
            parts: HashMap::new(),
            series: Vec::new(),
            orphans: Vec::new(),
            events_dropped: 0,
        };
        engine.assign(restored);
        engine
    }

    /// Replaces the rules. A series continues under the rule with its name and its `per`; windows keep their
    /// counts. Returns the alerts that are resolved because no rule evaluates them any more.
    pub fn install(&mut self, set: RuleSet, now: Duration) -> Vec<Transition> {
        self.whole.resize(set.window, set.interval);
        self.parts
            .retain(|(per, value), _| set.evaluates(*per, value));
        for window in self.parts.values_mut() {
            window.resize(set.window, set.interval);
        }
        self.set = set;
        let series = std::mem::take(&mut self.series).into_iter();
        let series = series.flat_map(BTreeMap::into_values);
        let orphans = std::mem::take(&mut self.orphans).into_iter();
        let all = series.chain(orphans.map(RuleSeries::resumed)).collect();
        self.assign(all);
        self.begin(now);
        self.end_orphans(now)
    }

    /// Assigns each series to its rule. What is left are orphans, if there is anything to resolve or to resend.
    fn assign(&mut self, all: Vec<RuleSeries>) {
        self.series = self.set.rules.iter().map(|_| BTreeMap::new()).collect();
        for mut series in all {
            let position = self.set.position(&series.state.key);
            let place = position.and_then(|position| {
                let rule = self.set.rules.get(position)?;
                Some((rule, self.series.get_mut(position)?))
            });
            if let Some((rule, place)) = place {
                series.adopt(rule);
                let label = series.state.key.label.as_ref();
                place.insert(label.map(|(_, value)| value.clone()), series);
            } else if series.state.is_relevant() {
                series.state.rule = None;
                self.orphans.push(series.state);
            }
        }
    }

    /// Between two evaluations.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.set.interval
    }

    /// Rules over all traffic have a state from the start, without a value: pages list every rule at once.
    pub fn begin(&mut self, now: Duration) {
        let identity = &self.identity;
        for (rule, series) in self.set.rules.iter().zip(&mut self.series) {
            if rule.per.is_none() {
                series.entry(None).or_insert_with(|| RuleSeries {
                    hysteresis: Hysteresis::default(),
                    state: AlertState::new(rule.clone(), None, identity.clone(), now),
                });
            }
        }
    }

    /// One evaluation. Returns the alerts whose tier changed.
    pub fn evaluate(
        &mut self,
        now: EvaluationTime,
        taken: Vec<(MetricSubject, Delta)>,
        snapshot: &Snapshot,
    ) -> Vec<Transition> {
        self.slide(now.steady, taken, snapshot);
        let (steady, now) = (now.steady, now.wall);
        let identity = &self.identity;
        let mut transitions = Vec::new();
        for (rule, series) in self.set.rules.iter().zip(&mut self.series) {
            for label in label_values(rule, &self.parts, series) {
                let series = series.entry(label.clone()).or_insert_with(|| RuleSeries {
                    hysteresis: Hysteresis::default(),
                    state: AlertState::new(rule.clone(), label.clone(), identity.clone(), now),
                });
                let window = match (rule.per, &label) {
                    (Some(per), Some(label)) => self.parts.get(&(per, label.clone())),
                    _ => Some(&self.whole),
                };
                let minimum = self.set.requests_min;
                let measured = rule.signal.measure(window, minimum, snapshot);
                let value = measured.as_ref().map(|measured| measured.value);
                let about = measured.and_then(|measured| measured.about);
                if rule.per == Some(Per::Model) && is_gone(&label, window) {
                    series.hysteresis.forget();
                }
                let step = series.hysteresis.step(&rule.thresholds, steady, value);
                let state = &mut series.state;
                state.sample = step.sample;
                if value.is_some() {
                    state.last_at = now;
                }
                if value.is_some() || step.sample == SampleState::Missing {
                    (state.value, state.about) = (value, about);
                }
                state.expire_resolved(now);
                if let Some(from) = step.changed_from {
                    if from == Tier::None {
                        state.identity = identity.clone();
                    }
                    transitions.push(state.change(from, step.tier, now));
                }
            }
        }
        transitions.extend(self.end_orphans(now));
        transitions
    }

    /// The states of all alerts, in the order of the rules.
    #[must_use]
    pub fn alerts(&self) -> Vec<AlertState> {
        let known = self.series.iter().flat_map(BTreeMap::values);
        let known = known.map(|series| &series.state);
        known.chain(&self.orphans).cloned().collect()
    }

    fn slide(&mut self, now: Duration, taken: Vec<(MetricSubject, Delta)>, snapshot: &Snapshot) {
        let mut whole = Delta::default();
        let mut parts: HashMap<(Per, Arc<str>), Delta> = HashMap::new();
        for (subject, delta) in taken {
            let mut add = |per: Per, value: &Arc<str>| {
                if self.set.evaluates(per, value) {
                    parts.entry((per, value.clone())).or_default().add(&delta);
                }
            };
            match &subject {
                MetricSubject::Route { name, platform } => {
                    add(Per::Route, name);
                    add(Per::Platform, platform);
                    whole.add(&delta);
                }
                MetricSubject::Backend(name) => add(Per::Backend, name),
                MetricSubject::Model(name) => add(Per::Model, name),
            }
        }
        let dropped = snapshot.events_dropped.saturating_sub(self.events_dropped);
        self.events_dropped = snapshot.events_dropped;
        whole.counts.events_dropped = dropped;
        self.whole.slide(now, whole);
        for (scope, window) in &mut self.parts {
            window.slide(now, parts.remove(scope).unwrap_or_default());
        }
        for (scope, delta) in parts {
            let mut window = Window::new(self.set.window, self.set.interval);
            window.slide(now, delta);
            self.parts.insert(scope, window);
        }
    }

    /// Alerts that no rule evaluates any more are resolved, once.
    fn end_orphans(&mut self, now: Duration) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for state in &mut self.orphans {
            state.expire_resolved(now);
            if state.tier != Tier::None {
                transitions.push(state.change(state.tier, Tier::None, now));
            }
        }
        self.orphans.retain(|state| state.ended_at.is_some());
        transitions
    }
}

/// Calls are counted under `other` until a model has responded. Once there are no such calls, the series has
/// nothing to alert on.
fn is_gone(label: &Option<Arc<str>>, window: Option<&Window>) -> bool {
    label.as_deref() == Some(UNKNOWN_MODEL)
        && window.is_some_and(|window| window.durations().total() == 0)
}

/// The label values of a rule: those that have had requests, and those that have a state.
fn label_values(
    rule: &Rule,
    parts: &HashMap<(Per, Arc<str>), Window>,
    series: &BTreeMap<Option<Arc<str>>, RuleSeries>,
) -> Vec<Option<Arc<str>>> {
    let Some(per) = rule.per else {
        return vec![None];
    };
    let seen = parts.keys().filter(|(of, _)| *of == per);
    let mut values: Vec<_> = seen.map(|(_, value)| Some(value.clone())).collect();
    values.extend(series.keys().cloned());
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "swap_tests.rs"]
mod swap_tests;
