//! Releases each request when it is due, whether or not earlier ones have been answered: an open model. In a closed
//! model, senders wait for responses before they send again, and a stall of the target hides itself (coordinated
//! omission).
//!
//! A dedicated thread sleeps until each due time: a timer of the runtime would be a millisecond late, and would wait
//! for other tasks of the runtime.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use weir::clock;

use crate::schedule::Schedule;

/// The longest sleep between two checks for an interrupt.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// The shortest sleep: at high rates a few requests are released together, since waking up for each would cost more
/// than the precision is worth.
const SLEEP_MIN: Duration = Duration::from_micros(100);
/// The sleep while more requests are due than there are idle senders, when precision does not matter.
const BACKLOG_SLEEP: Duration = Duration::from_millis(1);

/// The state that the pacer thread and the senders share.
#[derive(Debug)]
pub struct Pacer {
    schedule: Schedule,
    users: u64,
    /// A permit for each request that is due and not yet taken by a sender.
    due: Semaphore,
    /// How many requests have come due.
    due_count: AtomicU64,
    /// How many of them came due while every sender was waiting for a response.
    due_while_saturated: AtomicU64,
    /// The number of the next request that a sender takes.
    next: AtomicU64,
    completed: AtomicU64,
    /// When the test started; `None` until all senders are ready.
    started_at: watch::Sender<Option<Instant>>,
    interrupted: OnceLock<Instant>,
}

/// One request that is due.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub number: u64,
    pub due_at: Instant,
    pub phase: TestPhase,
}

/// Whether a request is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestPhase {
    Measured,
    /// Sent before the test, and not measured.
    WarmUp,
}

impl Pacer {
    #[must_use]
    pub fn new(schedule: Schedule, users: usize) -> Arc<Self> {
        Arc::new(Pacer {
            schedule,
            users: users as u64,
            due: Semaphore::new(0),
            due_count: AtomicU64::new(0),
            due_while_saturated: AtomicU64::new(0),
            next: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            started_at: watch::channel(None).0,
            interrupted: OnceLock::new(),
        })
    }

    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Runs the schedule; returns when the last request is due, or when it is interrupted.
    pub fn run(&self) {
        let started_at = clock::now();
        self.started_at.send_replace(Some(started_at));
        let mut number = 0;
        while let Some(due) = self.schedule.due(number) {
            if !self.sleep_until(started_at + due) {
                return;
            }
            // Release everything that is due by now together, instead of waking up for each request.
            let now = clock::now().saturating_duration_since(started_at);
            let mut count = 1;
            while self
                .schedule
                .due(number + count)
                .is_some_and(|due| due <= now)
            {
                count += 1;
            }
            if self.in_flight() >= self.users {
                self.due_while_saturated.fetch_add(count, Ordering::Relaxed);
            }
            number += count;
            self.due_count.store(number, Ordering::Relaxed);
            self.due
                .add_permits(usize::try_from(count).unwrap_or(usize::MAX));
            if self.due.available_permits() as u64 > self.users {
                // No sender is waiting: more requests are due than all senders can take.
                std::thread::sleep(BACKLOG_SLEEP);
            }
        }
    }

    /// Returns `false` when interrupted.
    fn sleep_until(&self, due_at: Instant) -> bool {
        loop {
            if self.is_interrupted() {
                return false;
            }
            let wait = due_at.saturating_duration_since(clock::now());
            if wait.is_zero() {
                return true;
            }
            std::thread::sleep(wait.clamp(SLEEP_MIN, SLEEP_MAX));
        }
    }

    /// Ends the schedule early: no more requests come due, and those that are waiting are not sent.
    pub fn interrupt(&self) {
        self.interrupted.get_or_init(clock::now);
        self.due.close();
    }

    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.get().is_some()
    }

    /// Ends the drain: requests that no sender has taken are not sent.
    pub fn close(&self) {
        self.due.close();
    }

    /// The next request, when it is due; `None` when there are no more.
    pub async fn next(&self) -> Option<Arrival> {
        // A closed semaphore means that the test is over.
        self.due.acquire().await.ok()?.forget();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.schedule.due(number)?;
        let started_at = (*self.started_at.borrow())?;
        Some(Arrival {
            number,
            due_at: started_at + due,
            phase: match number < self.schedule.warm_up_count() {
                true => TestPhase::WarmUp,
                false => TestPhase::Measured,
            },
        })
    }

    /// Counts a request as completed.
    pub fn complete(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that wait for their responses.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let completed = self.completed.load(Ordering::Relaxed);
        self.next.load(Ordering::Relaxed).saturating_sub(completed)
    }

    /// Whether every request that came due has been taken by a sender.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.due_count.load(Ordering::Relaxed)
    }

    /// How many requests have come due, the warm-up excluded.
    #[must_use]
    pub fn due_count(&self) -> u64 {
        let due_count = self.due_count.load(Ordering::Relaxed);
        due_count.saturating_sub(self.schedule.warm_up_count())
    }

    /// The share of requests that came due while every sender was busy, from 0 to 1.
    #[must_use]
    pub fn busy_share(&self) -> f64 {
        let due_count = self.due_count.load(Ordering::Relaxed).max(1);
        self.due_while_saturated.load(Ordering::Relaxed) as f64 / due_count as f64
    }

    /// How long the test has run, the warm-up excluded; stops at an interrupt.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let started_at = *self.started_at.borrow();
        started_at.map_or(Duration::ZERO, |started_at| {
            let until = self.interrupted.get().copied();
            let all = until
                .unwrap_or_else(clock::now)
                .saturating_duration_since(started_at);
            all.saturating_sub(self.schedule.warm_up())
        })
    }

    /// When the test started, after its warm-up, in the clock of the senders.
    #[must_use]
    pub fn started_at(&self) -> Option<Instant> {
        self.started_at
            .borrow()
            .map(|started_at| started_at + self.schedule.warm_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_elapsed_time_stops_at_an_interrupt() {
        let schedule = Schedule::new(&[(1000.0, 1000.0)], Duration::from_secs(3600), None);
        let pacer = Pacer::new(schedule.expect("a schedule"), 1);
        let shared = pacer.clone();
        let running = std::thread::spawn(move || shared.run());
        let deadline = clock::now() + Duration::from_secs(20);
        while pacer.due_count() < 10 {
            assert!(clock::now() < deadline, "no request comes due");
            std::thread::yield_now();
        }
        pacer.interrupt();
        running.join().expect("the schedule ends");
        // Time spent waiting for responses after that does not count.
        let (ran, later) = (pacer.elapsed(), clock::now() + Duration::from_millis(2));
        while clock::now() < later {
            std::thread::yield_now();
        }
        assert_eq!(pacer.elapsed(), ran);
    }
}
