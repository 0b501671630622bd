//! Keeps Redis connected: the only code that opens connections and closes the circuit.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::runtime::Handle;

use super::connections::WorkerConnections;
use super::metrics::CommandOutcome;
use super::reason::{self, ConnectError};
use super::{Redis, RedisUser};
use crate::backoff::Backoff;
use crate::log_throttle::LogDecision;
use crate::worker::Worker;
use crate::{clock, random};

/// The wait after the first failed attempt.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Connections that worked for this long were stable: the backoff starts again.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Connects each of the workers, again whenever the circuit opens. `up` is whether Redis is connected. It never ends.
pub(crate) async fn keep_connected(
    redis: Arc<Redis>,
    workers: Vec<Handle>,
    up: IntGauge,
    worker: Worker,
) {
    let mut backoff = Backoff::new(FIRST_WAIT, WAIT_MAX);
    loop {
        worker.fault_point();
        match WorkerConnections::open(&redis.config, &workers).await {
            Ok(connections) => {
                redis.connections.store(Arc::new(connections));
                redis.count(RedisUser::Probe, CommandOutcome::Ok);
                up.set(1);
                redis.breaker.close();
                redis.report_connected();
                let stability = until_opened(&redis).await;
                up.set(0);
                // The connections may hang, and so would closing them in order.
                redis.connections.store(Arc::default());
                if stability == Stability::Stable {
                    backoff.reset();
                    continue;
                }
            }
            Err(error) => {
                redis.count(RedisUser::Probe, outcome(&error));
                up.set(0);
                redis.report_unusable(&reason::of_connecting(&redis.config, &error));
            }
        }
        // Nothing signals that a server is back: each attempt is the probe.
        let wait = backoff.next_with_jitter(random::bits() as u32);
        tokio::time::sleep(wait).await;
    }
}

/// Whether connections have worked for [`STABLE_AFTER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stability {
    Stable,
    Unstable,
}

/// Waits until the circuit opens.
async fn until_opened(redis: &Redis) -> Stability {
    let opened = redis.opened.notified();
    tokio::pin!(opened);
    tokio::select! {
        () = &mut opened => return Stability::Unstable,
        () = tokio::time::sleep(STABLE_AFTER) => redis.reports.lock().stable(),
    }
    opened.await;
    Stability::Stable
}

impl Redis {
    fn report_connected(&self) {
        if self.reports.lock().connected() == LogDecision::Log {
            log::info!("redis is connected: {}", self.address());
        }
    }

    fn report_unusable(&self, reason: &str) {
        let decision = self.reports.lock().failed(reason, clock::now());
        if decision == LogDecision::Log {
            log::warn!("redis at {} cannot be used: {reason}", self.address());
        }
    }
}

fn outcome(error: &ConnectError) -> CommandOutcome {
    match error {
        ConnectError::Failed(_) => CommandOutcome::Error,
        ConnectError::TimedOut => CommandOutcome::Timeout,
    }
}
