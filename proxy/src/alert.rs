//! Alerts in three tiers: warning, critical and recovery.
//!
//! A side service: requests add to counters ([`tally`]) and wait for nothing; a thread of its own makes
//! figures of them over sliding windows ([`window`], [`signal`]) and tiers of the figures ([`tier`]), and
//! notifiers tell Alertmanager, a Feishu group or any webhook. What is in force outlives the process
//! ([`state`]). The same rules for Prometheus are made by [`rules`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::board::Board;
use self::counts::Delta;
use self::engine::{Engine, Now, Settings};
use self::event::Events;
use self::identity::Identity;
use self::journal::Journal;
use self::metrics::{AlertMetrics, AlertTiers};
use self::notify::kind::Configured;
use self::notify::{Links, Notifier};
use self::per::Per;
use self::rule::Rule;
use self::snapshot::SnapshotSource;
use self::state::{Found, Keeper, State};
use self::tally::{Needs, Subject, Tallies};
use crate::clock;
use crate::metrics::Metrics;
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State as Running, WorkerThread};

pub mod board;
pub mod counts;
pub mod engine;
mod event;
#[cfg(test)]
pub(crate) mod fixture;
pub mod histogram;
pub mod identity;
mod journal;
mod late;
pub mod metrics;
pub mod notify;
pub mod page;
pub mod per;
pub mod promql;
pub mod rule;
pub mod rules;
pub mod runbook;
pub mod signal;
pub mod silence;
pub mod snapshot;
pub mod standing;
pub mod state;
pub mod tally;
pub mod tier;
pub mod unit;
pub mod window;

/// The checked `alerts` block.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Beside those that an alert has by itself.
    pub labels: BTreeMap<String, String>,
    pub evaluate_every: Duration,
    pub window: Duration,
    /// In the window; below it a tier stays as it is.
    pub minimum_requests: u64,
    pub rules: Vec<Arc<Rule>>,
    pub notifiers: Vec<Configured>,
    /// Where what outlives the process is kept; `None`: nowhere.
    pub state: Option<PathBuf>,
    /// Where the admin side is reached from outside, without a slash at its end.
    pub console_url: Arc<str>,
}

impl Config {
    /// What of requests has to be counted for these rules.
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

    /// The names of those who are told, as metrics and the state have them.
    fn notifier_names(&self) -> Vec<String> {
        let notifiers = self.notifiers.iter();
        notifiers.map(|notifier| notifier.name.clone()).collect()
    }

    fn settings(&self, identity: Arc<Identity>) -> Settings {
        Settings {
            identity,
            window: self.window,
            interval: self.evaluate_every,
            requests_min: self.minimum_requests,
        }
    }

    fn links(&self) -> Links {
        Links {
            console: self.console_url.clone(),
        }
    }
}

/// What alerts are made of, and where they go beside the notifiers.
pub struct Sources {
    pub metrics: Arc<Metrics>,
    pub tallies: Arc<Tallies>,
    /// What is evaluated beside requests.
    pub snapshots: SnapshotSource,
    /// The way of transitions to their index.
    pub ship: Option<Arc<crate::ship::Ship>>,
    pub environment: String,
    /// What tells this weir from its replicas, unless `alerts.labels` say it.
    pub instance: String,
}

/// The running engine and its notifiers.
#[derive(Debug)]
pub struct Alerts {
    board: Arc<Board>,
    notifiers: Arc<Vec<Notifier>>,
    journal: Arc<Journal>,
    engine: WorkerThread<()>,
}

impl Alerts {
    /// Reads what a former process left, and starts all threads.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(config: &Config, sources: Sources) -> anyhow::Result<Arc<Self>> {
        let metrics = AlertMetrics::register(&sources.metrics)?;
        let (state, keeper) = remembered(config, &sources.metrics, &metrics)?;
        let identity = Arc::new(Identity::new(&config.labels, &sources.instance));
        let subjects = sources.tallies.subjects();
        let is_there = |per: Per, value: &str| {
            per == Per::Model || subjects.iter().any(|subject| subject.is(per, value))
        };
        let saved = state.alerts.clone();
        let mut engine = Engine::new(
            config.rules.clone(),
            config.settings(identity.clone()),
            saved,
            is_there,
        );
        let now = clock::unix_now();
        engine.begin(now);
        let names = config.notifier_names();
        let board = Board::new(&state, engine.standings(), names, keeper, (identity, now));
        let board = Arc::new(board);
        let notifiers = Arc::new(notifiers(config, &board, &sources.metrics, &metrics)?);
        let tiers = AlertTiers::register(&sources.metrics)?;
        tiers.show(&board.standings());
        let events = sources.ship.map(|ship| Events {
            ship,
            environment: sources.environment,
        });
        let worker = sources.metrics.worker("alert-journal")?;
        let writes = metrics.writes("events")?;
        let journal = Journal::start(worker, events, writes).context("alerts: cannot start")?;
        let journal = Arc::new(journal);
        let worker = sources.metrics.worker("alert")?;
        let mut watch = Watch {
            worker: worker.clone(),
            begun: None,
            unevaluated: Vec::new(),
            engine,
            interval: config.evaluate_every,
            board: board.clone(),
            notifiers: notifiers.clone(),
            tiers,
            journal: journal.clone(),
            snapshots: sources.snapshots,
            tallies: sources.tallies,
        };
        let engine = WorkerThread::start(worker, (), move |shared| watch.run(shared))
            .context("alerts: cannot start")?;
        Ok(Arc::new(Alerts {
            board,
            notifiers,
            journal,
            engine,
        }))
    }

    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Something was silenced or not any more.
    pub fn wake_notifiers(&self) {
        self.notifiers.iter().for_each(notify::wake);
    }

    /// Tells what can be told quickly, and keeps what is in force for the next start.
    pub fn stop(&self, deadline: Instant) {
        if self.engine.stop(deadline).is_err() {
            log::warn!("alerts: the last evaluation did not end in time");
        }
        let patience = deadline.min(clock::now() + notify::STOP_MAX);
        let ended = self
            .notifiers
            .iter()
            .map(|notifier| notifier.stop(patience));
        if ended.filter(Result::is_err).count() > 0 {
            log::warn!("alerts: a notifier did not end in time");
        }
        self.journal.stop(deadline);
        self.board.close(deadline);
    }
}

/// What a former process left, and who keeps it from now on.
fn remembered(
    config: &Config,
    metrics: &Metrics,
    counts: &AlertMetrics<'_>,
) -> anyhow::Result<(State, Option<Keeper>)> {
    let Some(path) = &config.state else {
        return Ok((State::default(), None));
    };
    match State::read(path) {
        Found::State(state) => {
            let (worker, writes) = (metrics.worker("alert-state")?, counts.writes("state")?);
            let keeper = Keeper::start(path.clone(), worker, writes);
            let keeper = keeper.context("alerts: cannot start")?;
            Ok((state, Some(keeper)))
        }
        Found::Foreign(why) => {
            let path = path.display();
            log::error!(
                "alerts.state: {path} is not used: {why}; name a file of its own, or a restart forgets what is in force"
            );
            Ok((State::default(), None))
        }
    }
}

/// What the thread of the engine holds.
struct Watch {
    worker: Worker,
    /// The first snapshot, by both clocks: a new start goes on from there, so that no time goes back.
    begun: Option<(Instant, Duration)>,
    /// Taken from the tallies, and not looked at yet.
    unevaluated: Vec<(Subject, Delta)>,
    engine: Engine,
    interval: Duration,
    board: Arc<Board>,
    notifiers: Arc<Vec<Notifier>>,
    tiers: AlertTiers,
    journal: Arc<Journal>,
    snapshots: SnapshotSource,
    tallies: Arc<Tallies>,
}

impl Watch {
    fn run(&mut self, shared: &SharedState<()>) {
        // A step of the wall clock moves no window.
        let first = || (clock::now(), clock::unix_now());
        let (begun, begun_at) = *self.begun.get_or_insert_with(first);
        let mut next = clock::now() + self.interval;
        loop {
            let mut inner = shared.lock();
            shared.wait_until(&mut inner, next, |()| false);
            let running = inner.state;
            drop(inner);
            if running == Running::Stopping {
                return;
            }
            let now = clock::now();
            next = (next + self.interval).max(now);
            self.evaluate(Now {
                steady: begun_at + now.saturating_duration_since(begun),
                wall: clock::unix_now(),
            });
        }
    }

    /// Writes nothing itself, not to the log either: a disk that hangs must not end this.
    fn evaluate(&mut self, now: Now) {
        self.unevaluated.extend(self.tallies.take());
        self.worker.fault_point();
        let snapshot = (self.snapshots)();
        let taken = std::mem::take(&mut self.unevaluated);
        let transitions = self.engine.evaluate(now, taken, &snapshot);
        let standings = self.engine.standings();
        self.tiers.show(&standings);
        self.board.publish(standings, &transitions, now.wall);
        if !transitions.is_empty() {
            // Whoever is told goes before what is written down.
            self.notifiers.iter().for_each(notify::wake);
            self.journal.note(transitions);
        }
        let now = clock::now();
        self.journal.snapshot(now);
        self.board.snapshot(now);
    }
}

fn notifiers(
    config: &Config,
    board: &Arc<Board>,
    metrics: &Metrics,
    alerting: &AlertMetrics<'_>,
) -> anyhow::Result<Vec<Notifier>> {
    let notifiers = config.notifiers.iter().map(|configured| {
        let Configured {
            kind,
            name,
            endpoint,
        } = configured;
        let context = notify::kind::Context {
            worker: metrics.worker(name)?,
            board: board.clone(),
            counts: alerting.notifier(name)?,
            retry_max: kind.retry_max,
        };
        let started = (kind.start)(endpoint, config.links(), context);
        started.context("alerts: cannot start")
    });
    notifiers.collect()
}
