//! The audit log: rejected signatures, rejected access to the admin API, changes through it, and starts and stops of
//! weir, as a hash chain of lines.
//!
//! A side service: a request only notes its rejection under a short lock, and a worker writes. A flood of rejections
//! is aggregated into one line per scheme, address and ten seconds, with a count. The log is append-only, and each
//! write is synced to disk. `weir audit verify` detects lines that were changed, inserted or removed, also at the
//! end. The log contains no secrets, signatures or bodies.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use self::chain::AuditEntry;
use self::file::AuditLog;
use self::flood::Floods;
use crate::clock;
use crate::exchange::{Exchange, Recorder};
use crate::handover_flag::HandoverFlag;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::metrics::{Metrics, catalog};
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State, WorkerThread};

mod chain;
mod file;
mod flood;
pub mod verify;

pub use self::flood::{AdminChange, AuditAction, ChangeOutcome, RejectedAccess};

/// How often ended windows are written.
const TICK: Duration = Duration::from_secs(1);
/// How many unwritten lines are kept; beyond that the oldest are dropped and counted.
const WAITING_MAX: usize = 1000;
/// How long the other process may have the log.
const OPEN_MAX: Duration = Duration::from_secs(2);
const OPEN_PAUSE: Duration = Duration::from_millis(5);
/// A disk that keeps failing is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The checked `events.audit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub path: PathBuf,
    /// Rotated files older than this are removed.
    pub keep: Duration,
}

/// Counters of lines. Clones share their state.
#[derive(Clone, Debug)]
struct AuditCounts {
    written: IntCounter,
    dropped: IntCounter,
}

impl AuditCounts {
    fn register(metrics: &Metrics) -> prometheus::Result<Self> {
        let lines = metrics.counter(catalog::AUDIT_LINES)?;
        Ok(AuditCounts {
            written: lines.series(&["written"])?,
            dropped: lines.series(&["dropped"])?,
        })
    }
}

/// The running audit log. Dropping it stops it without waiting; [`Audit::stop`] waits.
#[derive(Debug)]
pub struct Audit {
    thread: WorkerThread<Floods>,
    /// Whether the log belongs to two processes, while one hands over to the other.
    shared_log: Arc<HandoverFlag>,
}

impl Audit {
    /// Opens the log, logs the start of weir, and starts the worker. `owners` says whether a predecessor writes to the log
    /// as well.
    ///
    /// # Errors
    /// When the file cannot be opened or written to; the message names it.
    pub fn start(config: &Config, owners: LogOwners, metrics: &Metrics) -> io::Result<Arc<Self>> {
        let counts = AuditCounts::register(metrics).map_err(io::Error::other)?;
        let worker = metrics.worker("audit").map_err(io::Error::other)?;
        let with_path = |error: io::Error| {
            let path = config.path.display();
            io::Error::new(error.kind(), format!("events.audit.path: {path}: {error}"))
        };
        let now = clock::unix_now();
        let mut log = open_log(config, owners, now).map_err(with_path)?;
        log.append(&[AuditEntry::started()], now)
            .map_err(with_path)?;
        counts.written.inc();
        let shared_log = Arc::new(HandoverFlag::default());
        if owners == LogOwners::Two {
            shared_log.set();
        }
        let (on, config, theirs) = (worker.clone(), config.clone(), shared_log.clone());
        let (mut open, mut waiting) = (Some(log), Vec::new());
        let run = move |shared: &SharedState<Floods>| {
            // The log is reopened after a panic: only the file shows which lines were written.
            let log = open.take();
            let files = LogFiles {
                config: &config,
                log,
                shared_log: &theirs,
            };
            run(shared, files, &mut waiting, (&counts, &on));
        };
        let thread = WorkerThread::start(worker, Floods::default(), run)?;
        Ok(Arc::new(Audit { thread, shared_log }))
    }

    /// Shares the log with another process from now on, or stops sharing it. Both open it for each write, so that there is
    /// one writer at a time, and the chain continues from what the other one wrote.
    pub fn set_owners(&self, owners: LogOwners) {
        match owners {
            LogOwners::One => self.shared_log.clear(),
            LogOwners::Two => self.shared_log.set(),
        }
        self.thread.wake();
    }

    /// Notes a rejection.
    pub fn refused(&self, refused: &RejectedAccess<'_>, address: IpAddr) {
        let now = clock::unix_now();
        self.thread.lock().work.note(refused, address, now);
    }

    /// Notes a change through the admin API.
    pub fn changed(&self, changed: AdminChange, address: IpAddr) {
        self.thread.lock().work.note_change(changed, address);
    }

    /// Writes the remaining lines and logs the stop of weir, as far as the deadline allows.
    pub fn stop(&self, deadline: Instant) {
        if self.thread.stop(deadline).is_err() {
            log::warn!("audit: could not write the last lines in time");
        }
    }
}

/// Records requests that were rejected because of their signature.
impl Recorder for Audit {
    fn record(&self, exchange: &Exchange, _duration: Duration) {
        let Some(signature) = &exchange.signature else {
            return;
        };
        if signature.outcome.is_refusal() {
            let refused = RejectedAccess {
                action: AuditAction::Signature,
                scheme: signature.scheme,
                outcome: signature.outcome.as_str(),
                route: exchange.route.as_deref(),
                request_id: Some(exchange.id.as_str()),
            };
            self.refused(&refused, exchange.client_ip);
        }
    }
}

/// How many processes write to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOwners {
    One,
    /// This one and its predecessor or successor.
    Two,
}

/// The log, and how to open it.
struct LogFiles<'l> {
    config: &'l Config,
    /// `None` while it is not open.
    log: Option<AuditLog>,
    shared_log: &'l HandoverFlag,
}

impl LogFiles<'_> {
    fn owners(&self) -> LogOwners {
        match self.shared_log.is_set() {
            true => LogOwners::Two,
            false => LogOwners::One,
        }
    }

    /// Appends to the log, opening it first if necessary.
    fn append(&mut self, entries: &[AuditEntry]) -> io::Result<()> {
        let now = clock::unix_now();
        let owners = self.owners();
        let log = match &mut self.log {
            Some(log) => log,
            None if entries.is_empty() => return Ok(()),
            None => self.log.insert(open_log(self.config, owners, now)?),
        };
        log.append(entries, now)
    }

    /// Frees the log for the other process.
    fn release_if_shared(&mut self) {
        if self.owners() == LogOwners::Two {
            self.log = None;
        }
    }
}

/// Opens the log. The other process of two has it only while it writes.
fn open_log(config: &Config, owners: LogOwners, now: Duration) -> io::Result<AuditLog> {
    let until = clock::now() + OPEN_MAX;
    loop {
        match AuditLog::open(&config.path, config.keep, now) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy
                    && owners == LogOwners::Two
                    && clock::now() < until =>
            {
                std::thread::sleep(OPEN_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Writes lines until the stop. `waiting` holds the unwritten lines and outlives a panic.
fn run(
    shared: &SharedState<Floods>,
    mut files: LogFiles<'_>,
    waiting: &mut Vec<AuditEntry>,
    (counts, worker): (&AuditCounts, &Worker),
) {
    let mut throttle = LogThrottle::every(LOG_INTERVAL);
    loop {
        let state = take(shared, &files, waiting);
        if state == State::Stopping {
            waiting.push(AuditEntry::stopped());
        }
        if !waiting.is_empty() {
            worker.fault_point();
        }
        match files.append(waiting) {
            Ok(()) => {
                counts.written.inc_by(waiting.len() as u64);
                waiting.clear();
            }
            Err(error) => {
                if throttle.failed(clock::now()) == LogDecision::Log {
                    log::error!(
                        "audit: cannot write {} lines, retrying: {error}",
                        waiting.len()
                    );
                }
            }
        }
        let lost = waiting.len().saturating_sub(WAITING_MAX);
        drop(waiting.drain(..lost));
        counts.dropped.inc_by(lost as u64);
        if state == State::Stopping {
            counts.dropped.inc_by(waiting.len() as u64);
            return;
        }
        if let Some(log) = &mut files.log {
            log.sweep(clock::unix_now());
        }
        files.release_if_shared();
    }
}

/// Waits for a tick, the stop, or a process to share the log with, and takes the entries to write.
fn take(
    shared: &SharedState<Floods>,
    files: &LogFiles<'_>,
    waiting: &mut Vec<AuditEntry>,
) -> State {
    let mut inner = shared.lock();
    let has_to_release = files.log.is_some();
    shared.wait_until(&mut inner, clock::now() + TICK, |_| {
        has_to_release && files.owners() == LogOwners::Two
    });
    let over = match inner.state {
        State::Running => inner.work.over(clock::unix_now()),
        State::Stopping | State::Ended => inner.work.all(),
    };
    waiting.extend(over);
    inner.state
}
