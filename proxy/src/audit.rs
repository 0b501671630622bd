//! The audit log: who was refused for a signature or at the admin side's door, and when weir was started
//! and stopped, in lines that are chained by their hashes.
//!
//! It is a side service: the way of a request notes a refusal under a short lock and goes on; a thread
//! of its own writes. A flood of refusals is one line a scheme, address and ten seconds, with its count.
//! Lines are only ever appended, each followed by a sync of the disk. `weir audit verify` finds a line
//! that was changed, put in or taken out, at the end too. It holds no secret, no signature and no body.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use self::chain::Entry;
use self::file::Log;
use self::flood::Floods;
use crate::clock;

mod chain;
mod file;
mod flood;
pub mod verify;

pub use self::flood::{Action, Refused};

/// How often windows that are over are looked for.
const TICK: Duration = Duration::from_secs(1);
/// Lines that cannot be written are kept up to so many; then the oldest are lost, and counted.
const WAITING_MAX: usize = 1000;
/// A disk that goes on failing is told of at most this often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// The checked `events.audit`.
#[derive(Clone, Debug)]
pub struct Config {
    pub path: PathBuf,
    /// Rotated files older than this are removed.
    pub keep: Duration,
}

/// What became of lines; a clone is the same.
#[derive(Clone, Debug)]
pub struct Counts {
    pub written: IntCounter,
    pub dropped: IntCounter,
}

/// The running log. It ends when this is dropped; [`Audit::stop`] waits for that.
#[derive(Debug)]
pub struct Audit {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    /// Wakes the thread, and whoever waits for its end.
    changed: Condvar,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Pending {
    floods: Floods,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Stopping,
    Ended,
}

impl Audit {
    /// Opens the log, says there that weir was started, and starts the thread.
    ///
    /// # Errors
    /// When the file cannot be opened or written to; the message names it.
    pub fn start(config: &Config, counts: Counts) -> io::Result<Arc<Self>> {
        let told = |error: io::Error| {
            let path = config.path.display();
            io::Error::new(error.kind(), format!("events.audit.path: {path}: {error}"))
        };
        let now = clock::unix_now();
        let mut log = Log::open(&config.path, config.keep, now).map_err(told)?;
        log.append(&[Entry::started()], now).map_err(told)?;
        counts.written.inc();
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            changed: Condvar::new(),
            counts,
        });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || theirs.run(log))?;
        Ok(Arc::new(Audit {
            shared,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Notes a refusal.
    pub fn refused(&self, refused: &Refused<'_>, address: IpAddr) {
        let now = clock::unix_now();
        self.shared
            .pending
            .lock()
            .floods
            .note(refused, address, now);
    }

    /// Writes what is left, and that weir was stopped, as far as that is done by the deadline.
    pub fn stop(&self, deadline: Instant) {
        let mut pending = self.shared.pending.lock();
        if pending.state == State::Running {
            pending.state = State::Stopping;
        }
        self.shared.changed.notify_all();
        while pending.state != State::Ended {
            if self
                .shared
                .changed
                .wait_until(&mut pending, deadline)
                .timed_out()
            {
                log::warn!("audit: the last lines could not be written in time");
                return;
            }
        }
        drop(pending);
        if let Some(thread) = self.thread.lock().take() {
            // It has nothing left to do; a panic in it has been reported by itself.
            drop(thread.join());
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let mut pending = self.shared.pending.lock();
        if pending.state == State::Running {
            pending.state = State::Stopping;
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn run(&self, mut log: Log) {
        let mut waiting: Vec<Entry> = Vec::new();
        let mut complained_at: Option<Instant> = None;
        loop {
            let state = self.take(&mut waiting);
            if state == State::Stopping {
                waiting.push(Entry::stopped());
            }
            match log.append(&waiting, clock::unix_now()) {
                Ok(()) => {
                    self.counts.written.inc_by(waiting.len() as u64);
                    waiting.clear();
                }
                Err(error) => {
                    let now = clock::now();
                    let is_due = complained_at.is_none_or(|last| {
                        now.saturating_duration_since(last) >= COMPLAINT_INTERVAL
                    });
                    if is_due {
                        complained_at = Some(now);
                        log::error!("audit: {} lines wait: {error}", waiting.len());
                    }
                }
            }
            let lost = waiting.len().saturating_sub(WAITING_MAX);
            drop(waiting.drain(..lost));
            self.counts.dropped.inc_by(lost as u64);
            if state == State::Stopping {
                self.counts.dropped.inc_by(waiting.len() as u64);
                self.pending.lock().state = State::Ended;
                self.changed.notify_all();
                return;
            }
            log.sweep(clock::unix_now());
        }
    }

    /// Waits for a tick or the end, and takes what is to be written.
    fn take(&self, waiting: &mut Vec<Entry>) -> State {
        let mut pending = self.pending.lock();
        if pending.state == State::Running {
            self.changed.wait_for(&mut pending, TICK);
        }
        let state = pending.state;
        let now = clock::unix_now();
        let over = match state {
            State::Running => pending.floods.over(now),
            State::Stopping | State::Ended => pending.floods.all(),
        };
        waiting.extend(over);
        state
    }
}
