//! Gives the word for each request when it is due, whatever became of those before.
//!
//! A thread sleeps to each due time: a timer of the runtime would be a millisecond late, and would wait
//! for what else the runtime has to do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use weir::clock;

use crate::schedule::Schedule;

/// The longest that the thread sleeps without a look whether it is to stop.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// The shortest: at high rates a few requests leave together, and waking for each would cost more than it
/// tells.
const SLEEP_MIN: Duration = Duration::from_micros(100);
/// While more is due than all senders can take, a look is as good as a sharp eye.
const BACKLOG_SLEEP: Duration = Duration::from_millis(1);

/// What the pacer and the senders share.
#[derive(Debug)]
pub struct Pace {
    schedule: Schedule,
    users: u64,
    /// A permit for each request that is due and has no sender yet.
    due: Semaphore,
    /// How many have come due.
    released: AtomicU64,
    /// Of those, the ones that came due while every sender was waiting for an answer.
    found_all_busy: AtomicU64,
    /// The next request that a sender takes.
    next: AtomicU64,
    finished: AtomicU64,
    /// When the test began; unknown until all senders are there.
    begun: watch::Sender<Option<Instant>>,
    interrupted: OnceLock<Instant>,
}

/// One request that is due.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub number: u64,
    pub due_at: Instant,
    pub counts: Counts,
}

/// Whether a request is of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    InTheTest,
    /// It is sent and in no figure.
    WarmUp,
}

impl Pace {
    #[must_use]
    pub fn new(schedule: Schedule, users: usize) -> Arc<Self> {
        Arc::new(Pace {
            schedule,
            users: users as u64,
            due: Semaphore::new(0),
            released: AtomicU64::new(0),
            found_all_busy: AtomicU64::new(0),
            next: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            begun: watch::channel(None).0,
            interrupted: OnceLock::new(),
        })
    }

    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Runs the schedule; returns when the last request is due, or when it is interrupted.
    pub fn run(&self) {
        let begun = clock::now();
        self.begun.send_replace(Some(begun));
        let mut number = 0;
        while let Some(due) = self.schedule.due(number) {
            if !self.sleep_until(begun + due) {
                return;
            }
            // Everything that is due by now, at once: a sender that lags behind is not woken for each.
            let now = clock::now().saturating_duration_since(begun);
            let mut count = 1;
            while self
                .schedule
                .due(number + count)
                .is_some_and(|due| due <= now)
            {
                count += 1;
            }
            if self.in_flight() >= self.users {
                self.found_all_busy.fetch_add(count, Ordering::Relaxed);
            }
            number += count;
            self.released.store(number, Ordering::Relaxed);
            self.due
                .add_permits(usize::try_from(count).unwrap_or(usize::MAX));
            if self.due.available_permits() as u64 > self.users {
                // Nobody waits for the next one: there is more than all senders can take.
                std::thread::sleep(BACKLOG_SLEEP);
            }
        }
    }

    /// `false`: it was interrupted.
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

    /// Ends the schedule early: nothing more comes due, and what waits is not sent.
    pub fn interrupt(&self) {
        self.interrupted.get_or_init(clock::now);
        self.due.close();
    }

    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.get().is_some()
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
            counts: match number < self.schedule.warm_up_count() {
                true => Counts::WarmUp,
                false => Counts::InTheTest,
            },
        })
    }

    /// Is told that a request has come to its end.
    pub fn finish(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that wait for their answers.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let finished = self.finished.load(Ordering::Relaxed);
        self.next.load(Ordering::Relaxed).saturating_sub(finished)
    }

    /// Whether everything that came due has been taken.
    #[must_use]
    pub fn is_all_taken(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.released.load(Ordering::Relaxed)
    }

    /// How many requests of the test have come due.
    #[must_use]
    pub fn released(&self) -> u64 {
        let released = self.released.load(Ordering::Relaxed);
        released.saturating_sub(self.schedule.warm_up_count())
    }

    /// The share of requests that came due while every sender was busy, from 0 to 1.
    #[must_use]
    pub fn busy_share(&self) -> f64 {
        let released = self.released.load(Ordering::Relaxed).max(1);
        self.found_all_busy.load(Ordering::Relaxed) as f64 / released as f64
    }

    /// How long the test has been running, its warm-up not counted; at most until it was interrupted.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let begun = *self.begun.borrow();
        begun.map_or(Duration::ZERO, |begun| {
            let until = self.interrupted.get().copied();
            let all = until
                .unwrap_or_else(clock::now)
                .saturating_duration_since(begun);
            all.saturating_sub(self.schedule.warm_up())
        })
    }

    /// When the test began, its warm-up not counted, in the clock of the senders.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.begun
            .borrow()
            .map(|begun| begun + self.schedule.warm_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_test_is_as_long_as_it_ran() {
        let schedule = Schedule::new(&[(1000.0, 1000.0)], Duration::from_secs(3600), None);
        let pace = Pace::new(schedule.expect("a schedule"), 1);
        let theirs = pace.clone();
        let running = std::thread::spawn(move || theirs.run());
        let deadline = clock::now() + Duration::from_secs(20);
        while pace.released() < 10 {
            assert!(clock::now() < deadline, "nothing comes due");
            std::thread::yield_now();
        }
        pace.interrupt();
        running.join().expect("the schedule ends");
        // What waits for its answers after that is no part of it.
        let (ran, later) = (pace.elapsed(), clock::now() + Duration::from_millis(2));
        while clock::now() < later {
            std::thread::yield_now();
        }
        assert_eq!(pace.elapsed(), ran);
    }
}
