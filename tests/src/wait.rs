//! Waiting for what another process does: poll, with a deadline. The only place that sleeps.

use std::future::Future;
use std::time::Duration;

/// Between two looks.
const TICK: Duration = Duration::from_millis(5);

/// Longer than anything should take on a busy machine; for waits whose length is not the point.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks, for a poll that must itself await something.
pub async fn tick() {
    tokio::time::sleep(TICK).await;
}

/// Lets so much time pass: for another side that is slow.
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Polls until `look` finds something.
///
/// # Panics
/// When nothing was found within `deadline`; `what` says what was waited for.
pub async fn found<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(value) = look() {
                return value;
            }
            tick().await;
        }
    };
    within(what, deadline, polling).await
}

/// Polls until `condition` holds.
///
/// # Panics
/// When it did not within `deadline`.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    found(what, deadline, || condition().then_some(())).await;
}

/// Waits for a future, but not for ever.
///
/// # Panics
/// When `deadline` passes first.
pub async fn within<T>(what: &str, deadline: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(deadline, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {deadline:?} in vain for: {what}"),
    }
}

/// Whether a future is still not done after `time`: for what must *not* happen.
pub async fn still_waiting_after<T>(time: Duration, future: impl Future<Output = T>) -> bool {
    tokio::time::timeout(time, future).await.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_true_is_seen() {
        let mut looks = 0;
        eventually("the third look", PATIENCE, || {
            looks += 1;
            looks == 3
        })
        .await;
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain for: the impossible")]
    async fn a_condition_that_never_holds_ends_the_test() {
        eventually("the impossible", Duration::from_millis(20), || false).await;
    }
}
