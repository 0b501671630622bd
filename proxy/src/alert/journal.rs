//! What is written down of changes: the log, and events for the index. On a thread of its own, behind those who
//! are told: a disk that hangs, or a log that nobody reads, keeps nobody from hearing of an alert.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::board::Change;
use super::event::Events;
use super::late::Writing;
use super::notify;
use super::standing::Transition;
use crate::alert::metrics::AlertWrites;
use crate::clock;
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State, WorkerThread};

/// Changes that wait to be written down; what comes beyond is dropped and counted.
const WAITING_MAX: usize = 1000;
const IDLE: std::time::Duration = std::time::Duration::from_secs(3600);

/// The hand of the engine.
#[derive(Debug)]
pub(super) struct Journal {
    thread: WorkerThread<VecDeque<Entry>>,
    writes: AlertWrites,
    writing: Writing,
    /// Changes are events as well.
    has_events: bool,
}

/// A change, and how far it is written down: a panic may come between.
#[derive(Debug)]
struct Entry {
    transition: Transition,
    is_logged: bool,
}

impl Journal {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(
        worker: Worker,
        events: Option<Events>,
        writes: AlertWrites,
    ) -> io::Result<Self> {
        let (on, writing) = (worker.clone(), Writing::new(writes.clone()));
        let (has_events, theirs) = (events.is_some(), writing.clone());
        let run =
            move |shared: &SharedState<VecDeque<Entry>>| run(shared, events.as_ref(), &theirs, &on);
        let thread = WorkerThread::start(worker, VecDeque::new(), run)?;
        Ok(Journal {
            thread,
            writes,
            writing,
            has_events,
        })
    }

    /// Hands over what has changed. Waits for nothing.
    pub(super) fn note(&self, transitions: Vec<Transition>) {
        let mut inner = self.thread.lock();
        let room = WAITING_MAX.saturating_sub(inner.work.len());
        let dropped = transitions.len().saturating_sub(room);
        let taken = transitions.into_iter().take(room);
        inner.work.extend(taken.map(|transition| Entry {
            transition,
            is_logged: false,
        }));
        drop(inner);
        if self.has_events {
            self.writes.dropped.inc_by(dropped as u64);
        }
        self.thread.wake();
    }

    /// Counts a write that takes too long.
    pub(super) fn snapshot(&self, now: Instant) {
        self.writing.snapshot(now);
    }

    /// Writes down what is left.
    pub(super) fn stop(&self, deadline: Instant) {
        if self.thread.stop(deadline).is_err() {
            log::warn!("alerts: their last changes could not be written down in time");
        }
    }
}

fn run(
    shared: &SharedState<VecDeque<Entry>>,
    events: Option<&Events>,
    writing: &Writing,
    worker: &Worker,
) {
    loop {
        let mut inner = shared.lock();
        shared.wait_until(&mut inner, clock::now() + IDLE, |work| !work.is_empty());
        // It stays on the shared until it is written down.
        let Some(entry) = inner.work.front_mut() else {
            if inner.state == State::Running {
                continue;
            }
            return;
        };
        let transition = entry.transition.clone();
        let was_logged = std::mem::replace(&mut entry.is_logged, true);
        drop(inner);
        if !was_logged {
            let change = Change {
                told: transition.from,
                standing: transition.standing.clone(),
            };
            log::warn!("alert: {}", notify::summary(&change));
        }
        worker.fault_point();
        if let Some(events) = events {
            let written = writing.time(|| events.record(&transition));
            if let Err(error) = written {
                log::error!("alerts: a transition cannot be kept for the index: {error}");
            }
        }
        shared.lock().work.pop_front();
    }
}
