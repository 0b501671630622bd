//! Threads and tasks beside the way of requests are started again when they panic or fail.
//!
//! A panic is a mistake of weir's own, and one mistake must not end what a process promises for as long as it
//! lives. What is started again waits a little longer each time, is counted, and says why. What it had in hand
//! is its own affair: see each of them.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};

use crate::backoff::Backoff;
use crate::clock;

pub mod runtime;
pub mod thread;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// What ran for so long had come back to life: the next wait is short again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Who runs, and how often it had to be started again; a clone is the same.
#[derive(Clone, Debug)]
pub struct Worker {
    name: Arc<str>,
    restarts: IntCounter,
    /// 1 while it runs, 0 from a panic until it is started again.
    up: IntGauge,
    /// So many panics are wanted by a test.
    #[cfg(test)]
    faults: Arc<AtomicU32>,
}

/// What ended the pause before a new start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    Over,
    /// weir stops: the worker may do what is left, once.
    Stopping,
}

impl Worker {
    #[must_use]
    pub fn new(name: &str, restarts: IntCounter, up: IntGauge) -> Self {
        up.set(1);
        Worker {
            name: name.into(),
            restarts,
            up,
            #[cfg(test)]
            faults: Arc::default(),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs until `run` has ended well. `pause` waits before a new start, as long as it is told or until weir
    /// stops.
    pub fn keep<E: Display>(
        &self,
        mut run: impl FnMut() -> Result<(), E>,
        mut pause: impl FnMut(Duration) -> Pause,
    ) {
        let mut restarts = Restarts::new();
        let mut state = Pause::Over;
        loop {
            let begun = clock::now();
            let why = match catch_unwind(AssertUnwindSafe(&mut run)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => reason(&*panic),
            };
            let ran_for = clock::now().saturating_duration_since(begun);
            let wait = self.failed(&why, restarts.next(ran_for));
            if state == Pause::Stopping {
                return;
            }
            state = pause(wait);
            self.up.set(1);
        }
    }

    /// As [`Worker::keep`], for a task: each time `run` makes a new one.
    pub async fn keep_task<F>(&self, mut run: impl FnMut() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut restarts = Restarts::new();
        loop {
            let begun = clock::now();
            let Err(error) = tokio::spawn(run()).await else {
                return;
            };
            let Ok(panic) = error.try_into_panic() else {
                return;
            };
            let ran_for = clock::now().saturating_duration_since(begun);
            let wait = self.failed(&reason(&*panic), restarts.next(ran_for));
            tokio::time::sleep(wait).await;
            self.up.set(1);
        }
    }

    fn failed(&self, why: &str, wait: Duration) -> Duration {
        self.up.set(0);
        self.restarts.inc();
        let (name, ms) = (&self.name, wait.as_millis());
        log::error!("worker {name} has failed: {why}; it is started again in {ms} ms");
        wait
    }

    /// Where a test lets it panic. It is nothing elsewhere.
    #[cfg(not(test))]
    #[inline(always)]
    pub const fn fault_point(&self) {}

    /// Where a test lets it panic.
    #[cfg(test)]
    pub fn fault_point(&self) {
        let one_less = |faults: u32| faults.checked_sub(1);
        let order = Ordering::SeqCst;
        if self.faults.fetch_update(order, order, one_less).is_ok() {
            panic!("a test wants worker {} to panic", self.name);
        }
    }
}

#[cfg(test)]
impl Worker {
    /// One that no metric shows.
    pub(crate) fn unseen(name: &str) -> Self {
        let restarts = IntCounter::new("restarts", "Restarts.").expect("a counter");
        let up = IntGauge::new("up", "Up.").expect("a gauge");
        Worker::new(name, restarts, up)
    }

    /// The next so many times that it comes to a [`Worker::fault_point`] it panics.
    pub(crate) fn fail(&self, times: u32) {
        self.faults.store(times, Ordering::SeqCst);
    }

    /// How often it was started again, and whether it runs.
    pub(crate) fn seen(&self) -> (u64, i64) {
        (self.restarts.get(), self.up.get())
    }
}

/// What a panic said.
fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    match text {
        Some(text) => format!("it panicked: {text}"),
        None => "it panicked".to_owned(),
    }
}

/// The waits between restarts.
struct Restarts(Backoff);

impl Restarts {
    fn new() -> Self {
        Restarts(Backoff::new(FIRST_WAIT, WAIT_MAX))
    }

    /// The wait after a run of this length.
    fn next(&mut self, ran_for: Duration) -> Duration {
        if ran_for >= STABLE_AFTER {
            self.0.reset();
        }
        self.0.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_short_again_after_a_good_run() {
        let mut restarts = Restarts::new();
        let waits: Vec<_> = (0..10)
            .map(|_| restarts.next(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]
        );
        assert_eq!(restarts.next(STABLE_AFTER), FIRST_WAIT);
    }

    #[test]
    fn it_is_run_until_it_ends_well_and_after_the_stop_once_more() {
        let worker = Worker::unseen("test");
        let (mut runs, mut pauses) = (0, Vec::new());
        worker.keep(
            || {
                runs += 1;
                match runs {
                    1 => panic!("a text"),
                    2 => panic!("{} text", "another"),
                    3 => Err("it could not".to_owned()),
                    4 => std::panic::panic_any(4),
                    _ => Ok(()),
                }
            },
            |wait| {
                pauses.push(wait.as_millis());
                Pause::Over
            },
        );
        assert_eq!((runs, pauses), (5, vec![100, 200, 400, 800]));
        assert_eq!(worker.seen(), (4, 1));
        let mut runs = 0;
        let never = || {
            runs += 1;
            Err("never".to_owned())
        };
        worker.keep(never, |_| Pause::Stopping);
        assert_eq!((runs, worker.seen()), (2, (6, 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_made_anew() {
        let worker = Worker::unseen("task");
        worker.fail(3);
        worker
            .keep_task(|| {
                let theirs = worker.clone();
                async move { theirs.fault_point() }
            })
            .await;
        assert_eq!(worker.seen(), (3, 1));
    }
}
