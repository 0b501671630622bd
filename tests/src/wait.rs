//! Waits for other processes by polling with a deadline. Only this module and the timers of the fault proxy sleep.

use std::future::Future;
use std::time::Duration;

/// The polling interval.
const TICK: Duration = Duration::from_millis(5);

/// The default deadline: longer than anything should take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Sleeps for a polling interval, for polls that await something themselves.
pub async fn tick() {
    tokio::time::sleep(TICK).await;
}

/// Sleeps, to simulate a slow peer or to let a time pass that is itself what is tested.
pub async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Polls until `poll` returns something.
///
/// # Panics
/// It does not within `deadline`; `what` describes it in the message.
pub async fn found<T>(what: &str, deadline: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(value) = poll() {
                return value;
            }
            tick().await;
        }
    };
    within(what, deadline, polling).await
}

/// Polls until `condition` is true.
///
/// # Panics
/// It is not within `deadline`.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    found(what, deadline, || condition().then_some(())).await;
}

/// Waits for a future.
///
/// # Panics
/// It is not ready within `deadline`.
pub async fn within<T>(what: &str, deadline: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(deadline, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out after {deadline:?}: {what}"),
    }
}

/// Whether a future is still pending after `time`: for what must *not* happen.
pub async fn still_waiting_after<T>(time: Duration, future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(time, future).await.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_becomes_true_is_noticed() {
        let mut looks = 0;
        eventually("the third poll", PATIENCE, || {
            looks += 1;
            looks == 3
        })
        .await;
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    #[should_panic(expected = ": the impossible")]
    async fn a_condition_that_stays_false_fails_the_test() {
        eventually("the impossible", Duration::from_millis(20), || false).await;
    }
}
