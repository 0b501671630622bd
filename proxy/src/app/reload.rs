//! Reloads the configuration: on SIGHUP, when the file or a file that it names has changed, and on
//! `POST /api/reload`.
//!
//! A thread of its own reads and checks the new configuration as a whole, beside the one in use, and installs it at
//! once; requests in flight keep the generation that they met. An invalid configuration changes nothing. Reloads run
//! one after the other. Values of keys that need a restart stay as they were at the start, and every reload reports
//! them until then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::oneshot;

use self::debounce::{ChangeDebounce, FileState};
use super::installer::Installer;
use crate::admin::reload::{ReloadOutcome, ReloadReport, ReloadRequests};
use crate::clock;
use crate::config::file::{ConfigFile, FilesSnapshot, OpenedConfig};
use crate::config::{self, ConfigError, LoadedConfig};
use crate::metrics::{Metrics, catalog};
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State, WorkerThread};

mod debounce;

/// How often the files are read to find changes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Reloads that may be requested while one is in progress; one reload follows for all of them.
const REQUESTED_MAX: usize = 64;
/// More errors than this are counted, not logged.
const LOGGED_MAX: usize = 100;

/// Why a configuration is loaded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReloadTrigger {
    Hangup,
    FileChange,
    AdminApi,
}

impl ReloadTrigger {
    const fn as_str(self) -> &'static str {
        match self {
            ReloadTrigger::Hangup => "SIGHUP",
            ReloadTrigger::FileChange => "changed file",
            ReloadTrigger::AdminApi => "POST /api/reload",
        }
    }
}

/// A reload that has been requested and not begun.
#[derive(Debug)]
struct RequestedReload {
    trigger: ReloadTrigger,
    report: oneshot::Sender<ReloadReport>,
}

/// The running thread. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Reloader {
    thread: WorkerThread<Vec<RequestedReload>>,
}

impl Reloader {
    /// Starts the thread. Without a file, as in the demo, every reload is `unchanged`.
    pub(super) fn start(
        opened: Option<OpenedConfig>,
        installer: Arc<Installer>,
        metrics: &Metrics,
    ) -> anyhow::Result<Arc<Self>> {
        let worker = metrics.worker("reload")?;
        let counts = ReloadCounts::register(metrics)?;
        counts.succeeded();
        let mut reloading = Reloading {
            worker: worker.clone(),
            files: opened.map(WatchedFiles::new),
            installer,
            counts,
        };
        let thread = WorkerThread::start(worker, Vec::new(), move |shared| reloading.run(shared))?;
        Ok(Arc::new(Reloader { thread }))
    }

    /// Requests a reload; the receiver gets its report.
    pub(super) fn request(&self, trigger: ReloadTrigger) -> oneshot::Receiver<ReloadReport> {
        let (report, receiver) = oneshot::channel();
        let requested = RequestedReload { trigger, report };
        let mut inner = self.thread.lock();
        if inner.work.len() < REQUESTED_MAX {
            inner.work.push(requested);
        }
        drop(inner);
        self.thread.wake();
        receiver
    }

    /// Lets a reload in progress finish, as far as the deadline allows.
    pub(super) fn stop(&self, deadline: Instant) {
        if self.thread.stop(deadline).is_err() {
            log::warn!("a reload did not finish before the stop");
        }
    }
}

impl ReloadRequests for Reloader {
    fn request(&self) -> oneshot::Receiver<ReloadReport> {
        Reloader::request(self, ReloadTrigger::AdminApi)
    }
}

/// Counters of reloads.
#[derive(Debug)]
pub(super) struct ReloadCounts {
    applied: IntCounter,
    unchanged: IntCounter,
    rejected: IntCounter,
    last_success: IntGauge,
    last_successful: IntGauge,
}

impl ReloadCounts {
    pub(super) fn register(metrics: &Metrics) -> prometheus::Result<Self> {
        let reloads = metrics.counter(catalog::CONFIG_RELOADS)?;
        let series = |outcome: ReloadOutcome| reloads.series(&[outcome.as_str()]);
        Ok(ReloadCounts {
            applied: series(ReloadOutcome::Applied)?,
            unchanged: series(ReloadOutcome::Unchanged)?,
            rejected: series(ReloadOutcome::Rejected)?,
            last_success: metrics.gauge(catalog::CONFIG_LAST_SUCCESS)?.series(&[])?,
            last_successful: metrics
                .gauge(catalog::CONFIG_LAST_SUCCESSFUL)?
                .series(&[])?,
        })
    }

    /// The configuration in use is that of the file.
    fn succeeded(&self) {
        let now_s = clock::unix_now().as_secs();
        self.last_success.set(now_s.try_into().unwrap_or(i64::MAX));
        self.last_successful.set(1);
    }

    fn count(&self, outcome: ReloadOutcome) {
        match outcome {
            ReloadOutcome::Applied => self.applied.inc(),
            ReloadOutcome::Unchanged => self.unchanged.inc(),
            ReloadOutcome::Rejected => {
                self.rejected.inc();
                self.last_successful.set(0);
                return;
            }
        }
        self.succeeded();
    }
}

/// The file, and the configurations that were loaded from it.
struct WatchedFiles {
    file: ConfigFile,
    changes: ChangeDebounce<FilesSnapshot>,
    /// Of the start: the values of keys that need a restart are still in use.
    first: Arc<LoadedConfig>,
    /// The last valid one.
    current: Arc<LoadedConfig>,
}

impl WatchedFiles {
    fn new(opened: OpenedConfig) -> Self {
        let first = Arc::new(opened.loaded);
        WatchedFiles {
            file: opened.file,
            changes: ChangeDebounce::new(opened.snapshot),
            current: first.clone(),
            first,
        }
    }
}

/// What the thread holds; it outlives a panic.
struct Reloading {
    worker: Worker,
    files: Option<WatchedFiles>,
    installer: Arc<Installer>,
    counts: ReloadCounts,
}

impl Reloading {
    fn run(&mut self, shared: &SharedState<Vec<RequestedReload>>) {
        let mut next = clock::now() + INTERVAL;
        loop {
            let mut inner = shared.lock();
            shared.wait_until(&mut inner, next, |requested| !requested.is_empty());
            if inner.state == State::Stopping {
                // Those that wait are notified by the end of their channels.
                inner.work.clear();
                return;
            }
            let requested = std::mem::take(&mut inner.work);
            drop(inner);
            self.worker.fault_point();
            if let Some(trigger) = requested.first().map(|requested| requested.trigger) {
                // Requests that waited together get the report of one reload, which began after all of them.
                let report = self.reload(trigger);
                for requested in requested {
                    // Whoever requested it may have gone.
                    let _ = requested.report.send(report.clone());
                }
            }
            if clock::now() >= next {
                self.check_files();
                next = clock::now() + INTERVAL;
            }
        }
    }

    /// Reloads if the files have changed and are complete.
    fn check_files(&mut self) {
        let Some(files) = &mut self.files else {
            return;
        };
        let snapshot = files.file.snapshot();
        if files.changes.check(snapshot.clone()) != FileState::Changed {
            return;
        }
        let loaded = files.file.load_again();
        let after = files.file.snapshot();
        if files.changes.check(after) == FileState::Changed {
            files.changes.set_loaded(snapshot);
            self.apply(ReloadTrigger::FileChange, loaded);
        }
    }

    /// Reloads at once.
    fn reload(&mut self, trigger: ReloadTrigger) -> ReloadReport {
        let Some(files) = &mut self.files else {
            self.counts.count(ReloadOutcome::Unchanged);
            return ReloadReport::default();
        };
        // Before the file is loaded: a change in the meantime is found afterwards.
        let snapshot = files.file.snapshot();
        files.changes.set_loaded(snapshot);
        let loaded = files.file.load_again();
        self.apply(trigger, loaded)
    }

    fn apply(
        &mut self,
        trigger: ReloadTrigger,
        loaded: Result<LoadedConfig, ConfigError>,
    ) -> ReloadReport {
        let report = match (loaded, &mut self.files) {
            (Ok(loaded), Some(files)) => {
                let report = compare(&files.first, &files.current, &loaded);
                if report.outcome == ReloadOutcome::Applied {
                    self.installer.install(&loaded.config);
                }
                log_success(trigger, &report, &loaded);
                files.current = Arc::new(loaded);
                report
            }
            (Ok(_), None) => ReloadReport::default(),
            (Err(error), _) => {
                log_rejection(trigger, &error);
                ReloadReport::rejected(error)
            }
        };
        self.counts.count(report.outcome);
        report
    }
}

/// What `new` changes: in comparison with `current` what takes effect, with `first` what needs a restart.
fn compare(first: &LoadedConfig, current: &LoadedConfig, new: &LoadedConfig) -> ReloadReport {
    let changes = config::diff(current, new);
    let takes_effect = |key: &String| !changes.needs_restart.contains(key);
    let changed: Vec<_> = changes
        .changed
        .iter()
        .filter(|key| takes_effect(key))
        .collect();
    ReloadReport {
        outcome: match changed.is_empty() {
            true => ReloadOutcome::Unchanged,
            false => ReloadOutcome::Applied,
        },
        changed: changed.into_iter().cloned().collect(),
        needs_restart: config::diff(first, new).needs_restart,
        errors: Vec::new(),
    }
}

fn log_success(trigger: ReloadTrigger, report: &ReloadReport, loaded: &LoadedConfig) {
    let trigger = trigger.as_str();
    match report.outcome {
        ReloadOutcome::Applied => {
            loaded
                .warnings
                .iter()
                .for_each(|warning| log::warn!("{warning}"));
            let changed = report.changed.join(", ");
            log::info!("reloaded the configuration ({trigger}); changed: {changed}");
        }
        ReloadOutcome::Unchanged | ReloadOutcome::Rejected => {
            log::info!("reloaded the configuration ({trigger}); nothing to apply");
        }
    }
    if !report.needs_restart.is_empty() {
        let keys = report.needs_restart.join(", ");
        log::warn!("changed keys that take effect after a restart: {keys}");
    }
}

fn log_rejection(trigger: ReloadTrigger, error: &ConfigError) {
    let file = error.file.display();
    for diagnostic in error.list.iter().take(LOGGED_MAX) {
        let message = &diagnostic.message;
        match (diagnostic.line, diagnostic.column) {
            (0, _) => log::error!("{file}: {message}"),
            (line, column) => log::error!("{file}:{line}:{column}: {message}"),
        }
    }
    log::error!(
        "rejected the new configuration ({}), errors: {}; the previous one stays in use",
        trigger.as_str(),
        error.list.len()
    );
}
