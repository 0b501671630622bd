//! The audit log: rejected signatures, rejected access to the admin API, and starts and stops of weir, as a hash
//! chain of lines.
//!
//! A side service: a request only notes its rejection under a short lock, and a worker writes. A flood of
//! rejections is one line per scheme, address and ten seconds, with a count. Lines are only appended, and each
//! write is synced to disk. `weir audit verify` detects lines that were changed, inserted or removed, also at the
//! end. The log contains no secrets, signatures or bodies.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use self::chain::Entry;
use self::file::Log;
use self::flood::Floods;
use crate::clock;
use crate::exchange::{Exchange, Recorder};
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::metrics::{Metrics, catalog};
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State, WorkerThread};

mod chain;
mod file;
mod flood;
pub mod verify;

pub use self::flood::{Action, Changed, Refused};

/// How often windows are closed.
const TICK: Duration = Duration::from_secs(1);
/// How many lines that cannot be written are kept; beyond that the oldest are dropped and counted.
const WAITING_MAX: usize = 1000;
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
struct Counts {
    written: IntCounter,
    dropped: IntCounter,
}

impl Counts {
    fn register(metrics: &Metrics) -> prometheus::Result<Self> {
        let lines = metrics.counter(catalog::AUDIT_LINES)?;
        Ok(Counts {
            written: lines.series(&["written"])?,
            dropped: lines.series(&["dropped"])?,
        })
    }
}

/// The running audit log. Dropping it stops it without waiting; [`Audit::stop`] waits.
#[derive(Debug)]
pub struct Audit {
    thread: WorkerThread<Floods>,
}

impl Audit {
    /// Opens the log, appends that weir was started, and starts the worker.
    ///
    /// # Errors
    /// When the file cannot be opened or written to; the message names it.
    pub fn start(config: &Config, metrics: &Metrics) -> io::Result<Arc<Self>> {
        let counts = Counts::register(metrics).map_err(io::Error::other)?;
        let worker = metrics.worker("audit").map_err(io::Error::other)?;
        let with_path = |error: io::Error| {
            let path = config.path.display();
            io::Error::new(error.kind(), format!("events.audit.path: {path}: {error}"))
        };
        let now = clock::unix_now();
        let mut log = Log::open(&config.path, config.keep, now).map_err(with_path)?;
        log.append(&[Entry::started()], now).map_err(with_path)?;
        counts.written.inc();
        let (on, config) = (worker.clone(), config.clone());
        let (mut open, mut waiting) = (Some(log), Vec::new());
        let run = move |shared: &SharedState<Floods>| {
            // After a panic it is reopened: only the file shows how far it was written.
            let log = open.take();
            run(shared, (&config, log), &mut waiting, (&counts, &on));
        };
        let thread = WorkerThread::start(worker, Floods::default(), run)?;
        Ok(Arc::new(Audit { thread }))
    }

    /// Notes a rejection.
    pub fn refused(&self, refused: &Refused<'_>, address: IpAddr) {
        let now = clock::unix_now();
        self.thread.lock().work.note(refused, address, now);
    }

    /// Notes a change through the admin API.
    pub fn changed(&self, changed: Changed, address: IpAddr) {
        self.thread.lock().work.note_change(changed, address);
    }

    /// Writes what is left, and that weir was stopped, as far as the deadline allows.
    pub fn stop(&self, deadline: Instant) {
        if self.thread.stop(deadline).is_err() {
            log::warn!("audit: the last lines could not be written in time");
        }
    }
}

/// Requests that were rejected for their signature.
impl Recorder for Audit {
    fn record(&self, exchange: &Exchange, _duration: Duration) {
        let Some(signature) = &exchange.signature else {
            return;
        };
        if signature.outcome.is_refusal() {
            let refused = Refused {
                action: Action::Signature,
                scheme: signature.scheme,
                outcome: signature.outcome.as_str(),
                route: exchange.route.as_deref(),
                request_id: Some(exchange.id.as_str()),
            };
            self.refused(&refused, exchange.client_ip);
        }
    }
}

/// What waits to be written outlives a panic.
fn run(
    shared: &SharedState<Floods>,
    (config, mut log): (&Config, Option<Log>),
    waiting: &mut Vec<Entry>,
    (counts, worker): (&Counts, &Worker),
) {
    let mut throttle = LogThrottle::every(LOG_INTERVAL);
    loop {
        let state = take(shared, waiting);
        if state == State::Stopping {
            waiting.push(Entry::stopped());
        }
        if !waiting.is_empty() {
            worker.fault_point();
        }
        match append(config, &mut log, waiting) {
            Ok(()) => {
                counts.written.inc_by(waiting.len() as u64);
                waiting.clear();
            }
            Err(error) => {
                if throttle.failed(clock::now()) == LogDecision::Log {
                    log::error!("audit: {} lines wait: {error}", waiting.len());
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
        if let Some(log) = &mut log {
            log.sweep(clock::unix_now());
        }
    }
}

/// Appends to the log, and opens it first if necessary.
fn append(config: &Config, log: &mut Option<Log>, entries: &[Entry]) -> io::Result<()> {
    let now = clock::unix_now();
    let log = match log {
        Some(log) => log,
        None => log.insert(Log::open(&config.path, config.keep, now)?),
    };
    log.append(entries, now)
}

/// Waits for a tick or the stop, and takes what has to be written.
fn take(shared: &SharedState<Floods>, waiting: &mut Vec<Entry>) -> State {
    let mut inner = shared.lock();
    shared.wait_until(&mut inner, clock::now() + TICK, |_| false);
    let over = match inner.state {
        State::Running => inner.work.over(clock::unix_now()),
        State::Stopping | State::Ended => inner.work.all(),
    };
    waiting.extend(over);
    inner.state
}
