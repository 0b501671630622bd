//! Alerts with two tiers, warning and critical, and hysteresis.
//!
//! A side service: requests add to counters ([`counters`]) and never wait. A thread evaluates the rules: sliding
//! windows ([`window`]) give each signal ([`signal`]) a value, values give tiers ([`tier`]), and the alert store
//! ([`store`]) holds the states. Notifiers ([`notify`]) send what changed to Alertmanager, a Feishu group or a
//! webhook, deduplicated and without what is silenced ([`silence`]). Firing alerts survive a restart
//! ([`persistence`]). [`rules`] renders the same rules for Prometheus.
//!
//! A swap of generations replaces the rules and the settings that they share ([`rule_set`]). Everything else lives
//! as long as the process: the thread, the store with its silences, the notifiers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::counters::{CounterRegistry, Needs};
use self::engine::{Engine, EvaluationTime};
use self::evaluator::{EngineWork, Evaluator};
use self::event::TransitionEvents;
pub use self::handover::HandedOverAlerts;
use self::identity::AlertIdentity;
use self::journal::Journal;
use self::metrics::{AlertMetrics, AlertTiers};
use self::notify::kind::NotifierConfig;
use self::notify::{ConsoleLinks, Notifier};
use self::persistence::{LoadedState, PersistedState, StateWriter};
use self::rule::Rule;
use self::rule_set::{LabelValues, RuleSet};
use self::snapshot::SnapshotSource;
use self::store::AlertStore;
use crate::clock;
use crate::metrics::Metrics;
use crate::worker::thread::WorkerThread;

pub mod counters;
pub mod counts;
pub mod engine;
mod evaluator;
mod event;
#[cfg(test)]
pub(crate) mod fixture;
mod handover;
pub mod histogram;
pub mod identity;
mod journal;
pub mod metrics;
pub mod notify;
pub mod page;
pub mod per;
pub mod persistence;
pub mod promql;
pub mod rule;
pub mod rule_set;
pub mod rules;
pub mod runbook;
pub mod signal;
pub mod silence;
mod slow_write;
pub mod snapshot;
pub mod state;
pub mod store;
pub mod tier;
pub mod unit;
pub mod window;

/// The checked `alerts` block.
#[derive(Clone, PartialEq)]
pub struct Config {
    /// Added to the labels that every alert has.
    pub labels: BTreeMap<String, String>,
    pub evaluate_every: Duration,
    pub window: Duration,
    /// With fewer requests in the window the tier is held.
    pub minimum_requests: u64,
    pub rules: Vec<Arc<Rule>>,
    pub notifiers: Vec<NotifierConfig>,
    /// The file in which firing alerts and silences survive a restart; `None`: none.
    pub state: Option<PathBuf>,
    /// Where the admin API is reached from outside, without a trailing slash.
    pub console_url: Arc<str>,
}

// Notifiers hold credentials.
impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("alert::Config")
            .field("evaluate_every", &self.evaluate_every)
            .field("window", &self.window)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Which requests these rules need to have counted.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        let of_requests = self
            .rules
            .iter()
            .filter(|rule| rule.signal.is_of_requests());
        of_requests.for_each(|rule| needs.add(rule.per));
        needs
    }

    /// The names of all notifiers, as metrics and the state file use them.
    fn notifier_names(&self) -> Vec<String> {
        let notifiers = self.notifiers.iter();
        notifiers.map(|notifier| notifier.name.clone()).collect()
    }

    /// What the engine evaluates, for the routes and backends of `labels`.
    #[must_use]
    pub fn rule_set(&self, labels: LabelValues) -> RuleSet {
        RuleSet {
            rules: self.rules.clone(),
            window: self.window,
            interval: self.evaluate_every,
            requests_min: self.minimum_requests,
            labels,
        }
    }

    fn links(&self) -> ConsoleLinks {
        ConsoleLinks {
            console: self.console_url.clone(),
        }
    }
}

/// What alerts are evaluated from, and where transitions go beside the notifiers.
pub struct Sources {
    pub metrics: Arc<Metrics>,
    pub counters: Arc<CounterRegistry>,
    /// The routes and backends of the configuration.
    pub labels: LabelValues,
    /// What is evaluated besides requests.
    pub snapshots: SnapshotSource,
    /// Ships transitions to their index.
    pub ship: Option<Arc<crate::ship::Ship>>,
    pub environment: String,
    /// Distinguishes this process from its replicas, unless `alerts.labels` do.
    pub instance: String,
}

/// The running engine and its notifiers.
#[derive(Debug)]
pub struct Alerts {
    store: Arc<AlertStore>,
    notifiers: Arc<Vec<Notifier>>,
    journal: Arc<Journal>,
    counters: Arc<CounterRegistry>,
    engine: WorkerThread<EngineWork>,
}

impl Alerts {
    /// Loads the state of the last process, unless a predecessor hands over its own, and starts all threads.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        config: &Config,
        sources: Sources,
        inherited: Option<HandedOverAlerts>,
    ) -> anyhow::Result<Arc<Self>> {
        let metrics = AlertMetrics::register(&sources.metrics)?;
        let (saved, writer) = load_state(config, &sources.metrics, &metrics)?;
        let is_inherited = inherited.is_some();
        let (state, engine_state) = match inherited {
            Some(inherited) => (inherited.state, inherited.engine),
            None => (saved, None),
        };
        let identity = Arc::new(AlertIdentity::new(&config.labels, &sources.instance));
        let set = config.rule_set(sources.labels);
        let mut engine = Engine::new(set, identity.clone(), &state.alerts);
        let now = clock::unix_now();
        engine.begin(now);
        if let Some(state) = engine_state {
            // Its own evaluations begin later.
            engine.resume(
                state,
                EvaluationTime {
                    steady: now,
                    wall: now,
                },
            );
        }
        let names = config.notifier_names();
        let store = AlertStore::new(&state, engine.alerts(), names, writer, (identity, now));
        let store = Arc::new(store);
        if is_inherited {
            store.save();
        }
        let notifiers = Arc::new(notifiers(config, &store, &sources.metrics, &metrics)?);
        let tiers = AlertTiers::register(&sources.metrics)?;
        tiers.show(&store.alerts());
        let events = sources.ship.map(|ship| TransitionEvents {
            ship,
            environment: sources.environment,
        });
        let worker = sources.metrics.worker("alert-journal")?;
        let writes = metrics.writes("events")?;
        let journal = Journal::start(worker, events, writes).context("alerts: cannot start")?;
        let journal = Arc::new(journal);
        let worker = sources.metrics.worker("alert")?;
        let mut evaluator = Evaluator {
            worker: worker.clone(),
            started: None,
            unevaluated: Vec::new(),
            not_installed: None,
            engine,
            store: store.clone(),
            notifiers: notifiers.clone(),
            tiers,
            journal: journal.clone(),
            snapshots: sources.snapshots,
            counters: sources.counters.clone(),
        };
        let engine = WorkerThread::start(worker, EngineWork::default(), move |shared| {
            evaluator.run(shared);
        })
        .context("alerts: cannot start")?;
        Ok(Arc::new(Alerts {
            store,
            notifiers,
            journal,
            counters: sources.counters,
            engine,
        }))
    }

    /// Replaces the rules by those of `config`, with `evaluate_every`, `window` and `minimum_requests`; `labels` are
    /// the routes and backends of the new configuration. Requests are counted for the new rules from now on.
    pub fn install(&self, config: &Config, labels: LabelValues) {
        let mut inner = self.engine.lock();
        self.counters.set_needs(config.needs());
        inner.work.rules = Some(config.rule_set(labels));
        drop(inner);
        self.engine.wake();
    }

    #[must_use]
    pub fn store(&self) -> &AlertStore {
        &self.store
    }

    /// Silences have changed.
    pub fn wake_notifiers(&self) {
        self.notifiers.iter().for_each(notify::wake);
    }

    /// Sends what can be sent quickly, and saves firing alerts for the next start.
    pub fn stop(&self, deadline: Instant) {
        if self.engine.stop(deadline).is_err() {
            log::warn!("alerts: the last evaluation did not finish before the stop");
        }
        let notifiers_deadline = deadline.min(clock::now() + notify::STOP_MAX);
        let ended = self
            .notifiers
            .iter()
            .map(|notifier| notifier.stop(notifiers_deadline));
        if ended.filter(Result::is_err).count() > 0 {
            log::warn!("alerts: a notifier did not finish before the stop");
        }
        self.journal.stop(deadline);
        self.store.close(deadline);
    }
}

/// The saved state, and the writer of the next ones.
fn load_state(
    config: &Config,
    metrics: &Metrics,
    counts: &AlertMetrics<'_>,
) -> anyhow::Result<(PersistedState, Option<StateWriter>)> {
    let Some(path) = &config.state else {
        return Ok((PersistedState::default(), None));
    };
    match PersistedState::read(path) {
        LoadedState::State(state) => {
            let (worker, writes) = (metrics.worker("alert-state")?, counts.writes("state")?);
            let writer = StateWriter::start(path.clone(), worker, writes);
            let writer = writer.context("alerts: cannot start")?;
            Ok((state, Some(writer)))
        }
        LoadedState::Foreign(error) => {
            let path = path.display();
            log::error!(
                "alerts.state: {path} is not used: {error}; set it to a file of its own, or a restart forgets firing alerts and silences"
            );
            Ok((PersistedState::default(), None))
        }
    }
}

fn notifiers(
    config: &Config,
    store: &Arc<AlertStore>,
    metrics: &Metrics,
    alerting: &AlertMetrics<'_>,
) -> anyhow::Result<Vec<Notifier>> {
    let notifiers = config.notifiers.iter().map(|configured| {
        let NotifierConfig {
            kind,
            name,
            destination,
        } = configured;
        let context = notify::kind::NotifierContext {
            worker: metrics.worker(name)?,
            store: store.clone(),
            counts: alerting.notifier(name)?,
            retry_max: kind.retry_max,
        };
        let started = (kind.start)(destination, config.links(), context);
        started.context("alerts: cannot start")
    });
    notifiers.collect()
}
