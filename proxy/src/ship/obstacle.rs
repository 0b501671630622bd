//! The obstacle that currently keeps events out of the index, for the log, metrics and `/api/status`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bulk::RetryReason;
use super::condition::Condition;
use super::metrics::ObstacleMetrics;
use crate::log_throttle::{LogDecision, LogThrottle};

/// An obstacle that lasts is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why the index rejects some or all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    pub condition: Condition,
    /// The latest message of the index.
    pub message: String,
    /// The node it came from.
    pub node: String,
    /// Since the Unix epoch.
    pub since: Duration,
}

/// The obstacle of one data stream. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct CurrentObstacle {
    inner: Arc<Mutex<ObstacleState>>,
    metrics: ObstacleMetrics,
}

#[derive(Debug)]
struct ObstacleState {
    present: Option<Obstacle>,
    /// One for each condition: conditions that alternate must not fill the log.
    throttles: [LogThrottle; Condition::ALL.len()],
}

impl CurrentObstacle {
    pub(super) fn new(metrics: ObstacleMetrics) -> Self {
        CurrentObstacle {
            inner: Arc::new(Mutex::new(ObstacleState {
                present: None,
                throttles: Condition::ALL.map(|_| LogThrottle::every(LOG_INTERVAL)),
            })),
            metrics,
        }
    }

    pub(super) fn get(&self) -> Option<Obstacle> {
        self.inner.lock().present.clone()
    }

    /// Notes that `events` events have to wait. `now` is the time of both clocks.
    pub(super) fn note_retry(
        &self,
        node: &str,
        wait: &RetryReason,
        events: usize,
        now: (Instant, Duration),
    ) {
        let condition = wait.condition;
        self.metrics.note_retry(condition, events as u64);
        let mut inner = self.inner.lock();
        let before = inner.present.take();
        let same = before.filter(|before| before.condition == condition);
        let since = same.map_or(now.1, |before| before.since);
        inner.present = Some(Obstacle {
            condition,
            message: wait.message.clone(),
            node: node.to_owned(),
            since,
        });
        let throttle = inner.throttles.get_mut(condition as usize);
        let is_due = throttle.is_some_and(|one| one.failed(now.0) == LogDecision::Log);
        drop(inner);
        if is_due {
            log::error!("{}", reported(node, condition, &wait.message));
        }
    }

    /// Notes that all events of a request were accepted.
    pub(super) fn clear(&self, node: &str) {
        self.metrics.clear();
        let mut inner = self.inner.lock();
        inner.present = None;
        let failures = inner.throttles.iter_mut();
        if failures
            .filter_map(|one| one.recovered().then_some(()))
            .count()
            > 0
        {
            drop(inner);
            log::info!("events: {node} accepts events again");
        }
    }
}

/// The line of the log.
fn reported(node: &str, condition: Condition, message: &str) -> String {
    // The number of an error of the system repeats its text.
    let message = match message.rsplit_once(" (os error ") {
        Some((text, number)) if number.ends_with(')') => text,
        _ => message,
    };
    match condition {
        Condition::Unreachable => {
            format!("events: {node} is unreachable ({message}); events wait in the spool")
        }
        _ => format!(
            "events: {node} does not accept events: {message} ({}); events wait in the spool",
            condition.as_str()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_is_reported_in_one_sentence() {
        for (condition, message, line) in [
            (
                Condition::Unreachable,
                "Connection refused (os error 111)",
                "events: http://h:9200 is unreachable (Connection refused); events wait in the spool",
            ),
            (
                Condition::Forbidden,
                "403: no privilege",
                "events: http://h:9200 does not accept events: 403: no privilege (forbidden); events wait in the spool",
            ),
        ] {
            assert_eq!(reported("http://h:9200", condition, message), line);
        }
    }
}
