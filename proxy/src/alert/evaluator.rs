//! The thread that evaluates the rules on a timer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counters::{CounterRegistry, MetricSubject};
use super::counts::Delta;
use super::engine::{Engine, EngineState, EvaluationTime};
use super::journal::Journal;
use super::metrics::AlertTiers;
use super::notify::{self, Notifier};
use super::rule_set::RuleSet;
use super::snapshot::SnapshotSource;
use super::state::Transition;
use super::store::AlertStore;
use crate::clock;
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State as Running};

/// How often an engine that has handed over looks whether it has to stop.
const IDLE: Duration = Duration::from_secs(3600);

/// What the thread of the engine has to do.
#[derive(Debug, Default)]
pub(super) struct EngineWork {
    /// The rules of the next generation, until the engine has taken them.
    pub(super) rules: Option<RuleSet>,
    pub(super) handover: EngineHandover,
}

impl EngineWork {
    fn is_handed_over(&self) -> bool {
        matches!(self.handover, EngineHandover::Done(_))
    }

    /// Whether there is something to do before the next evaluation.
    fn is_due(&self) -> bool {
        match self.handover {
            EngineHandover::None => self.rules.is_some(),
            EngineHandover::Requested | EngineHandover::Done(_) => true,
        }
    }
}

#[derive(Debug, Default)]
pub(super) enum EngineHandover {
    #[default]
    None,
    Requested,
    /// The state for the successor. Nothing is evaluated here.
    Done(Option<EngineState>),
}

/// Evaluates the rules on a timer; what its thread holds.
pub(super) struct Evaluator {
    pub(super) worker: Worker,
    /// The first evaluation, by both clocks: a restart after a panic continues from it, so that time never goes
    /// back.
    pub(super) started: Option<(Instant, Duration)>,
    /// Taken from the counters, and not evaluated yet.
    pub(super) unevaluated: Vec<(MetricSubject, Delta)>,
    /// The rules of the next generation.
    pub(super) not_installed: Option<RuleSet>,
    pub(super) engine: Engine,
    pub(super) store: Arc<AlertStore>,
    pub(super) notifiers: Arc<Vec<Notifier>>,
    pub(super) tiers: AlertTiers,
    pub(super) journal: Arc<Journal>,
    pub(super) snapshots: SnapshotSource,
    pub(super) counters: Arc<CounterRegistry>,
}

impl Evaluator {
    pub(super) fn run(&mut self, shared: &SharedState<EngineWork>) {
        // A step of the wall clock must not move a window.
        let first = || (clock::now(), clock::unix_now());
        let (started, started_at) = *self.started.get_or_insert_with(first);
        let mut next = clock::now() + self.engine.interval();
        loop {
            let mut inner = shared.lock();
            match inner.work.is_handed_over() {
                true => {
                    let is_back = |work: &EngineWork| !work.is_handed_over();
                    shared.wait_until(&mut inner, clock::now() + IDLE, is_back);
                }
                false => shared.wait_until(&mut inner, next, EngineWork::is_due),
            }
            let running = inner.state;
            match inner.work.handover {
                EngineHandover::None => {}
                EngineHandover::Requested if running != Running::Stopping => {
                    let now = EvaluationTime::at(clock::now(), (started, started_at));
                    inner.work.handover = EngineHandover::Done(Some(self.hand_over(now)));
                    shared.notify();
                    continue;
                }
                EngineHandover::Done(_) if running != Running::Stopping => continue,
                EngineHandover::Requested | EngineHandover::Done(_) => {}
            }
            self.not_installed = inner.work.rules.take().or(self.not_installed.take());
            drop(inner);
            if running == Running::Stopping {
                return;
            }
            let now = clock::now();
            if self.install() == Installed::New {
                next = next.min(now + self.engine.interval());
            }
            if now < next {
                continue;
            }
            next = (next + self.engine.interval()).max(now);
            self.evaluate(EvaluationTime::at(now, (started, started_at)));
        }
    }

    /// Writes nothing itself, not even to the log: a disk that hangs must not stop evaluations.
    fn evaluate(&mut self, now: EvaluationTime) {
        self.unevaluated.extend(self.counters.take());
        self.worker.fault_point();
        let snapshot = (self.snapshots)();
        let taken = std::mem::take(&mut self.unevaluated);
        let transitions = self.engine.evaluate(now, taken, &snapshot);
        self.publish(transitions, now.wall);
        let now = clock::now();
        self.journal.check(now);
        self.store.check(now);
    }

    /// What a successor continues from.
    fn hand_over(&mut self, now: EvaluationTime) -> EngineState {
        self.unevaluated.extend(self.counters.take());
        let taken = std::mem::take(&mut self.unevaluated);
        self.engine.hand_over(now, taken, &(self.snapshots)())
    }

    /// Takes over the rules of the next generation, if there are any.
    fn install(&mut self) -> Installed {
        let Some(set) = self.not_installed.clone() else {
            return Installed::Unchanged;
        };
        let now = clock::unix_now();
        let transitions = self.engine.install(set, now);
        self.not_installed = None;
        self.publish(transitions, now);
        Installed::New
    }

    fn publish(&self, transitions: Vec<Transition>, now: Duration) {
        let alerts = self.engine.alerts();
        self.tiers.show(&alerts);
        self.store.publish(alerts, &transitions, now);
        if !transitions.is_empty() {
            // Notify first, record afterwards.
            self.notifiers.iter().for_each(notify::wake);
            self.journal.record(transitions);
        }
    }
}

/// Whether the engine has new rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Installed {
    New,
    Unchanged,
}
