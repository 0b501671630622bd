//! Supervises background workers: threads and tasks that are restarted when they panic or fail.
//!
//! A panic is a bug in weir, and one bug must not disable a function of the process permanently. Restarts are delayed
//! (exponential backoff), counted and logged with their reason. Each worker is responsible for the work that it had
//! not finished.

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
/// A worker that ran for this long was stable: the backoff starts again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// A worker: its name and its counters. Clones share their state.
#[derive(Clone, Debug)]
pub struct Worker {
    name: Arc<str>,
    restarts: IntCounter,
    /// 1 while it runs, 0 from a failure until it is restarted.
    up: IntGauge,
    /// How many panics a test has requested.
    #[cfg(test)]
    faults: Arc<AtomicU32>,
}

/// How the pause before a restart ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    Over,
    /// weir is stopping: the worker runs once more to finish its work.
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

    /// Runs `run` until it succeeds. `pause` waits before a restart, for the given time or until weir stops.
    pub fn supervise<E: Display>(
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

    /// As [`Worker::supervise`], for a task: `run` creates a new one each time.
    pub async fn supervise_task<F>(&self, mut run: impl FnMut() -> F)
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
        log::error!("worker {name} failed: {why}; restarting it in {ms} ms");
        wait
    }

    /// A place where tests inject a panic; it does nothing otherwise.
    #[cfg(not(test))]
    #[inline(always)]
    pub const fn fault_point(&self) {}

    /// A place where tests inject a panic.
    #[cfg(test)]
    pub fn fault_point(&self) {
        let one_less = |faults: u32| faults.checked_sub(1);
        let order = Ordering::SeqCst;
        if self.faults.fetch_update(order, order, one_less).is_ok() {
            panic!("a test made worker {} panic", self.name);
        }
    }
}

#[cfg(test)]
impl Worker {
    /// A worker without exposed metrics.
    pub(crate) fn unexposed(name: &str) -> Self {
        let restarts = IntCounter::new("restarts", "Restarts.").expect("a counter");
        let up = IntGauge::new("up", "Up.").expect("a gauge");
        Worker::new(name, restarts, up)
    }

    /// Makes the next `times` calls of [`Worker::fault_point`] panic.
    pub(crate) fn fail(&self, times: u32) {
        self.faults.store(times, Ordering::SeqCst);
    }

    /// How often it was restarted, and whether it runs.
    pub(crate) fn seen(&self) -> (u64, i64) {
        (self.restarts.get(), self.up.get())
    }
}

/// The message of a panic.
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
    fn waits_double_up_to_the_maximum_and_are_short_after_a_stable_run() {
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
    fn a_worker_is_restarted_until_it_succeeds_and_once_after_the_stop() {
        let worker = Worker::unexposed("test");
        let (mut runs, mut pauses) = (0, Vec::new());
        worker.supervise(
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
        worker.supervise(never, |_| Pause::Stopping);
        assert_eq!((runs, worker.seen()), (2, (6, 0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_restarted() {
        let worker = Worker::unexposed("task");
        worker.fail(3);
        worker
            .supervise_task(|| {
                let theirs = worker.clone();
                async move { theirs.fault_point() }
            })
            .await;
        assert_eq!(worker.seen(), (3, 1));
    }
}
