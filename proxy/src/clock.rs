//! The one place where the clock is read.
//!
//! State machines take the time as an argument; whoever drives them asks here. Everywhere else the
//! standard library's `now` is forbidden by `clippy.toml`.

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

/// The time was over before the future was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for a future for at most `limit`. What is ready at once, as most reads and writes are, costs
/// neither a timer nor a look at the clock.
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

/// A timer for the deadlines of one connection. It is created once and reset only when it fires, which it does not on
/// a connection in use: a new timer for each deadline would cost more than what is waited for.
#[derive(Debug, Default)]
pub struct DeadlineTimer {
    timer: Option<Pin<Box<Sleep>>>,
}

impl DeadlineTimer {
    /// Ready when the deadline is over.
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

/// Waits for what another thread does: a test that reads it once reads it too early on a busy machine.
///
/// # Panics
/// When it does not come.
#[cfg(test)]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = now() + Duration::from_secs(60);
    while !condition() {
        assert!(now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_ends_at_each_deadline_whatever_the_order_of_them() {
        let mut timer = DeadlineTimer::default();
        let begun = tokio::time::Instant::now();
        for (wait_s, ended_s) in [(60, 60), (10, 70), (5, 75), (600, 675), (1, 676)] {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(wait_s);
            poll_fn(|context| timer.poll_end(deadline.into_std(), context)).await;
            assert_eq!(begun.elapsed().as_secs(), ended_s);
        }
        // A deadline that moves on while it is waited for: an earlier timer goes off in vain.
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
    async fn a_timeout_ends_only_what_is_not_ready() {
        let second = Duration::from_secs(1);
        assert_eq!(timeout(Duration::ZERO, std::future::ready(1)).await, Ok(1));
        let late = tokio::time::sleep(second * 2);
        assert!(timeout(second * 3, late).await.is_ok());
    }
}
