//! Evaluates all rules: what was counted becomes figures, figures become tiers.
//!
//! Pure: the time, the counts and the readings are passed in. Memory goes by rules and by the values
//! that they tell apart, which are closed sets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::counts::Delta;
use super::identity::Identity;
use super::per::Per;
use super::rule::Rule;
use super::standing::{Saved, Standing, Transition};
use super::tally::Subject;
use super::tier::{Basis, Memory, Tier};
use super::window::Window;
use crate::alert::snapshot::Snapshot;

/// How the engine looks at requests.
#[derive(Clone, Debug)]
pub struct Settings {
    pub window: Duration,
    pub interval: Duration,
    /// In the window; with fewer there is no figure.
    pub requests_min: u64,
    /// Who raises what is raised from now on.
    pub identity: Arc<Identity>,
}

/// One value of what a rule tells apart.
struct Series {
    memory: Memory,
    standing: Standing,
}

/// The model that calls are counted under before their model is known.
const UNKNOWN_MODEL: &str = "other";

/// The time of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Never goes back: windows and tiers go by it.
    pub steady: Duration,
    /// What people read, since the Unix epoch. It may be set.
    pub wall: Duration,
}

/// All rules and what is remembered of them.
pub struct Engine {
    settings: Settings,
    rules: Vec<Arc<Rule>>,
    /// Of all traffic.
    whole: Window,
    parts: HashMap<(Per, Arc<str>), Window>,
    /// In the order of the rules.
    series: Vec<BTreeMap<Option<Arc<str>>, Series>>,
    /// Alerts whose rule is no longer there.
    orphans: Vec<Standing>,
    events_dropped: u64,
}

impl Engine {
    /// Goes on with what was in force when a former process ended; `is_there` says whether the routes,
    /// platforms and backends that it was about are still there.
    #[must_use]
    pub fn new(
        rules: Vec<Arc<Rule>>,
        settings: Settings,
        saved: Vec<Saved>,
        is_there: impl Fn(Per, &str) -> bool,
    ) -> Self {
        let mut engine = Engine {
            whole: Window::new(settings.window, settings.interval),
            settings,
            parts: HashMap::new(),
            series: rules.iter().map(|_| BTreeMap::new()).collect(),
            rules,
            orphans: Vec::new(),
            events_dropped: 0,
        };
        for saved in saved {
            let place = engine
                .rules
                .iter()
                .position(|rule| rule.name == saved.key.rule && rule.per == saved.key.per());
            let value = saved.key.label.as_ref().map(|(_, value)| &**value);
            let about = saved.key.per().zip(value);
            let place = place.filter(|_| about.is_none_or(|(per, value)| is_there(per, value)));
            let Some((rule, series)) = place
                .and_then(|place| Some((engine.rules.get(place)?, engine.series.get_mut(place)?)))
            else {
                engine
                    .orphans
                    .push(Standing::of_saved(&saved, None, &engine.settings.identity));
                continue;
            };
            let of = saved.key.label.as_ref().map(|(_, value)| value.clone());
            let begun = Series {
                memory: Memory::resumed(saved.tier, saved.last_at),
                standing: Standing::of_saved(&saved, Some(rule.clone()), &engine.settings.identity),
            };
            series.insert(of, begun);
        }
        engine
    }

    /// Rules over all traffic stand from the start, not measured yet: whoever looks sees what is watched.
    pub fn begin(&mut self, now: Duration) {
        let identity = &self.settings.identity;
        for (rule, series) in self.rules.iter().zip(&mut self.series) {
            if rule.per.is_none() {
                series.entry(None).or_insert_with(|| Series {
                    memory: Memory::default(),
                    standing: Standing::new(rule.clone(), None, identity.clone(), now),
                });
            }
        }
    }

    /// One evaluation. Returns what changed its tier.
    pub fn evaluate(
        &mut self,
        now: Now,
        taken: Vec<(Subject, Delta)>,
        snapshot: &Snapshot,
    ) -> Vec<Transition> {
        self.slide(now.steady, taken, snapshot);
        let (steady, now) = (now.steady, now.wall);
        let identity = &self.settings.identity;
        let mut transitions = Vec::new();
        for (rule, series) in self.rules.iter().zip(&mut self.series) {
            for value in values(rule, &self.parts, series) {
                let series = series.entry(value.clone()).or_insert_with(|| Series {
                    memory: Memory::default(),
                    standing: Standing::new(rule.clone(), value.clone(), identity.clone(), now),
                });
                let window = match (rule.per, &value) {
                    (Some(per), Some(value)) => self.parts.get(&(per, value.clone())),
                    _ => Some(&self.whole),
                };
                let minimum = self.settings.requests_min;
                let measured = rule.signal.measure(window, minimum, snapshot);
                let figure = measured.as_ref().map(|measured| measured.value);
                let about = measured.and_then(|measured| measured.about);
                if rule.per == Some(Per::Model) && is_gone(&value, window) {
                    series.memory.forget();
                }
                let step = series.memory.step(&rule.lines, steady, figure);
                let standing = &mut series.standing;
                standing.basis = step.basis;
                if figure.is_some() {
                    standing.last_at = now;
                }
                if figure.is_some() || step.basis == Basis::Forgotten {
                    (standing.figure, standing.about) = (figure, about);
                }
                standing.forget_end(now);
                if let Some(from) = step.changed_from {
                    if from == Tier::None {
                        standing.identity = identity.clone();
                    }
                    transitions.push(standing.change(from, step.tier, now));
                }
            }
        }
        transitions.extend(self.end_orphans(now));
        transitions
    }

    /// How all alerts stand, in the order of the rules.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let known = self.series.iter().flat_map(BTreeMap::values);
        let known = known.map(|series| &series.standing);
        known.chain(&self.orphans).cloned().collect()
    }

    fn slide(&mut self, now: Duration, taken: Vec<(Subject, Delta)>, snapshot: &Snapshot) {
        let mut whole = Delta::default();
        let mut parts: HashMap<(Per, Arc<str>), Delta> = HashMap::new();
        for (subject, delta) in taken {
            let mut add = |per: Per, value: &Arc<str>| {
                let is_needed = self.rules.iter().any(|rule| rule.per == Some(per));
                if is_needed {
                    parts.entry((per, value.clone())).or_default().add(&delta);
                }
            };
            match &subject {
                Subject::Route { name, platform } => {
                    add(Per::Route, name);
                    add(Per::Platform, platform);
                    whole.add(&delta);
                }
                Subject::Backend(name) => add(Per::Backend, name),
                Subject::Model(name) => add(Per::Model, name),
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
            let mut window = Window::new(self.settings.window, self.settings.interval);
            window.slide(now, delta);
            self.parts.insert(scope, window);
        }
    }

    /// Nobody watches them any more: they end, once.
    fn end_orphans(&mut self, now: Duration) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for standing in &mut self.orphans {
            standing.forget_end(now);
            if standing.tier != Tier::None {
                transitions.push(standing.change(standing.tier, Tier::None, now));
            }
        }
        self.orphans.retain(|standing| standing.ended_at.is_some());
        transitions
    }
}

/// Calls are counted under `other` until a model has answered; when none is there any more, what was is
/// no alert of any model.
fn is_gone(value: &Option<Arc<str>>, window: Option<&Window>) -> bool {
    value.as_deref() == Some(UNKNOWN_MODEL)
        && window.is_some_and(|window| window.durations().total() == 0)
}

/// The values that a rule looks at: those that have had requests, and those that it remembers.
fn values(
    rule: &Rule,
    parts: &HashMap<(Per, Arc<str>), Window>,
    series: &BTreeMap<Option<Arc<str>>, Series>,
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
