//! Records transitions: in the log, and as events for the index. On a thread of its own, after the notifiers: a
//! disk that hangs, or a log that nobody reads, must not delay a notification.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::event::TransitionEvents;
use super::notify;
use super::slow_write::WriteWatch;
use super::state::Transition;
use super::store::Change;
use crate::alert::metrics::AlertWrites;
use crate::clock;
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State, WorkerThread};

/// Transitions that wait to be recorded; more are dropped and counted.
const WAITING_MAX: usize = 1000;
const IDLE: std::time::Duration = std::time::Duration::from_secs(3600);

/// The handle of the thread.
#[derive(Debug)]
pub(super) struct Journal {
    thread: WorkerThread<VecDeque<JournalEntry>>,
    writes: AlertWrites,
    watch: WriteWatch,
    /// Transitions are recorded as events as well.
    has_events: bool,
}

/// A transition, and how far it is recorded: a panic may come between.
#[derive(Debug)]
struct JournalEntry {
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
        events: Option<TransitionEvents>,
        writes: AlertWrites,
    ) -> io::Result<Self> {
        let (on, watch) = (worker.clone(), WriteWatch::new(writes.clone()));
        let (has_events, theirs) = (events.is_some(), watch.clone());
        let run = move |shared: &SharedState<VecDeque<JournalEntry>>| {
            run(shared, events.as_ref(), &theirs, &on);
        };
        let thread = WorkerThread::start(worker, VecDeque::new(), run)?;
        Ok(Journal {
            thread,
            writes,
            watch,
            has_events,
        })
    }

    /// Hands over transitions. Never blocks.
    pub(super) fn record(&self, transitions: Vec<Transition>) {
        let mut inner = self.thread.lock();
        let room = WAITING_MAX.saturating_sub(inner.work.len());
        let dropped = transitions.len().saturating_sub(room);
        let taken = transitions.into_iter().take(room);
        inner.work.extend(taken.map(|transition| JournalEntry {
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
    pub(super) fn check(&self, now: Instant) {
        self.watch.check(now);
    }

    /// Records what is left, and stops.
    pub(super) fn stop(&self, deadline: Instant) {
        if self.thread.stop(deadline).is_err() {
            log::warn!("alerts: the last transitions were not recorded before the stop");
        }
    }
}

fn run(
    shared: &SharedState<VecDeque<JournalEntry>>,
    events: Option<&TransitionEvents>,
    watch: &WriteWatch,
    worker: &Worker,
) {
    loop {
        let mut inner = shared.lock();
        shared.wait_until(&mut inner, clock::now() + IDLE, |work| !work.is_empty());
        // It stays in the shared state until it is recorded.
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
                notified: transition.from,
                state: transition.state.clone(),
            };
            log::warn!("alert: {}", notify::summary(&change));
        }
        worker.fault_point();
        if let Some(events) = events {
            let written = watch.time(|| events.record(&transition));
            if let Err(error) = written {
                log::error!("alerts: cannot spool a transition for the index: {error}");
            }
        }
        shared.lock().work.pop_front();
    }
}
