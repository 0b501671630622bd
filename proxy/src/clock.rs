//! The only place where the clock is read.
//!
//! State machines take the time as an argument; their callers read it here. Everywhere else, `clippy.toml`
//! forbids the `now` of the standard library.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::time::Sleep;

/// The monotonic clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall-clock time since the Unix epoch; zero for a clock set before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The time limit passed before the future completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for a future for at most `limit`. A future that is ready at once, as most reads and writes are, needs
/// neither a timer nor the clock.
///
/// # Errors
/// [`Elapsed`].
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let at_once = poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    });
    if let Some(output) = at_once.await {
        return Ok(output);
    }
    let waited = pingora::time::timeout(limit, future).await;
    waited.map_err(|_| Elapsed)
}

/// A timer for the many deadlines of one connection. It is created once and reset only when it fires: on a busy
/// connection it never does, and a new timer for every wait would cost more than the wait itself.
#[derive(Debug, Default)]
pub struct DeadlineTimer {
    timer: Option<Pin<Box<Sleep>>>,
}

impl DeadlineTimer {
    /// Ready when the deadline has passed.
    pub fn poll_end(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let deadline = tokio::time::Instant::from(deadline);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// Waits until another thread has met a condition, since a single check would be too early on a busy machine.
///
/// # Panics
/// When the condition is not met in time.
#[cfg(test)]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = now() + Duration::from_secs(60);
    while !condition() {
        assert!(now() < deadline, "timed out waiting for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_timer_fires_at_each_deadline_in_any_order() {
        let mut timer = DeadlineTimer::default();
        let begun = tokio::time::Instant::now();
        for (wait_s, ended_s) in [(60, 60), (10, 70), (5, 75), (600, 675), (1, 676)] {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(wait_s);
            poll_fn(|context| timer.poll_end(deadline.into_std(), context)).await;
            assert_eq!(begun.elapsed().as_secs(), ended_s);
        }
        // The deadline moves during the wait: the timer fires too early once.
        let mut first = true;
        poll_fn(|context| {
            let wait_s = if std::mem::take(&mut first) { 5 } else { 20 };
            let deadline = begun + Duration::from_secs(676 + wait_s);
            timer.poll_end(deadline.into_std(), context)
        })
        .await;
        assert_eq!(begun.elapsed().as_secs(), 696);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_ends_only_futures_that_are_not_ready() {
        let second = Duration::from_secs(1);
        assert_eq!(timeout(Duration::ZERO, std::future::ready(1)).await, Ok(1));
        let late = tokio::time::sleep(second * 2);
        assert!(timeout(second * 3, late).await.is_ok());
    }
}
