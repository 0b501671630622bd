//! What keeps events from the index now: for the log, metrics and `/api/status` alike.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::bulk::Wait;
use super::condition::Condition;
use super::metrics::ObstacleMetrics;
use crate::log_throttle::{LogDecision, LogThrottle};

/// An obstacle that lasts is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Why nothing, or not all, is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    pub condition: Condition,
    /// What the index said last.
    pub said: String,
    /// The node that said so.
    pub node: String,
    /// Since the Unix epoch.
    pub since: Duration,
}

/// The obstacle of one shipper; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Present {
    inner: Arc<Mutex<Inner>>,
    metrics: ObstacleMetrics,
}

#[derive(Debug)]
struct Inner {
    present: Option<Obstacle>,
    /// One for each condition: those that take turns fill no log.
    throttles: [LogThrottle; Condition::ALL.len()],
}

impl Present {
    pub(super) fn new(metrics: ObstacleMetrics) -> Self {
        Present {
            inner: Arc::new(Mutex::new(Inner {
                present: None,
                throttles: Condition::ALL.map(|_| LogThrottle::every(LOG_INTERVAL)),
            })),
            metrics,
        }
    }

    pub(super) fn get(&self) -> Option<Obstacle> {
        self.inner.lock().present.clone()
    }

    /// Notes that so many events have to wait; `now` by both clocks.
    pub(super) fn met(&self, node: &str, wait: &Wait, events: usize, now: (Instant, Duration)) {
        let condition = wait.condition;
        self.metrics.met(condition, events as u64);
        let mut inner = self.inner.lock();
        let before = inner.present.take();
        let same = before.filter(|before| before.condition == condition);
        let since = same.map_or(now.1, |before| before.since);
        inner.present = Some(Obstacle {
            condition,
            said: wait.said.clone(),
            node: node.to_owned(),
            since,
        });
        let throttle = inner.throttles.get_mut(condition as usize);
        let is_due = throttle.is_some_and(|one| one.failed(now.0) == LogDecision::Log);
        drop(inner);
        if is_due {
            let (name, said) = (condition.as_str(), &wait.said);
            log::error!(
                "events: {node} does not take them: {said} ({name}); they wait in the spool"
            );
        }
    }

    /// All of a request was taken.
    pub(super) fn gone(&self, node: &str) {
        self.metrics.gone();
        let mut inner = self.inner.lock();
        inner.present = None;
        let told = inner.throttles.iter_mut();
        if told.filter_map(|one| one.recovered().then_some(())).count() > 0 {
            drop(inner);
            log::info!("events: {node} takes them again");
        }
    }
}
