//! Gives the word for each request when it is due, whatever became of those before.
//!
//! A thread sleeps to each due time: a timer of the runtime would be a millisecond late, and would wait
//! for what else the runtime has to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use weir::clock;

use crate::schedule::Schedule;

/// What the pacer and the senders share.
#[derive(Debug)]
pub struct Pace {
    schedule: Schedule,
    /// A permit for each request that is due and has no sender yet.
    due: Semaphore,
    /// The next request that a sender takes.
    next: AtomicU64,
    /// When the test began; unknown until all senders are there.
    begun: watch::Sender<Option<Instant>>,
}

/// One request that is due.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub number: u64,
    pub due_at: Instant,
}

impl Pace {
    #[must_use]
    pub fn new(schedule: Schedule) -> Arc<Self> {
        Arc::new(Pace {
            schedule,
            due: Semaphore::new(0),
            next: AtomicU64::new(0),
            begun: watch::channel(None).0,
        })
    }

    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Runs the schedule; returns when the last request is due.
    pub fn run(&self) {
        let begun = clock::now();
        self.begun.send_replace(Some(begun));
        for number in 0..self.schedule.total() {
            let Some(due) = self.schedule.due(number) else {
                break;
            };
            let wait = (begun + due).saturating_duration_since(clock::now());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            self.due.add_permits(1);
        }
    }

    /// Those that no sender took are not sent any more.
    pub fn close(&self) {
        self.due.close();
    }

    /// The next request, when it is due; `None` when there are no more.
    pub async fn next(&self) -> Option<Slot> {
        // Closed: it is over.
        self.due.acquire().await.ok()?.forget();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.schedule.due(number)?;
        let begun = (*self.begun.borrow())?;
        Some(Slot {
            number,
            due_at: begun + due,
        })
    }

    /// How many senders took.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.schedule.total())
    }

    /// How long it has been running.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let begun = *self.begun.borrow();
        begun.map_or(Duration::ZERO, |begun| {
            clock::now().saturating_duration_since(begun)
        })
    }

    /// When it began, in the clock of the senders.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        *self.begun.borrow()
    }
}
