//! Keeps Redis connected: the only code that opens connections and closes the circuit.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::runtime::Handle;

use super::connections::{ConnectError, WorkerConnections};
use super::metrics::CommandOutcome;
use super::{Config, Redis, RedisUser, describe};
use crate::backoff::Backoff;
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
    let mut is_reported = false;
    loop {
        worker.fault_point();
        match WorkerConnections::open(&redis.config, &workers).await {
            Ok(connections) => {
                redis.connections.store(Arc::new(connections));
                let connected_at = clock::now();
                redis.count(RedisUser::Probe, CommandOutcome::Ok);
                up.set(1);
                redis.breaker.close();
                log::info!("redis is connected");
                is_reported = false;
                redis.opened.notified().await;
                up.set(0);
                // The connections may hang, and so would closing them in order.
                redis.connections.store(Arc::default());
                if connected_at.elapsed() >= STABLE_AFTER {
                    backoff.reset();
                    continue;
                }
            }
            Err(error) => {
                redis.count(RedisUser::Probe, outcome(&error));
                up.set(0);
                if !is_reported {
                    log::warn!("redis cannot be used: {}", reason(&redis.config, &error));
                    is_reported = true;
                }
            }
        }
        // Nothing signals that a server is back: each attempt is the probe.
        let wait = backoff.next_with_jitter(random::bits() as u32);
        tokio::time::sleep(wait).await;
    }
}

fn outcome(error: &ConnectError) -> CommandOutcome {
    match error {
        ConnectError::Failed(_) => CommandOutcome::Error,
        ConnectError::TimedOut => CommandOutcome::Timeout,
    }
}

fn reason(config: &Config, error: &ConnectError) -> String {
    let late = ConnectError::TimedOut;
    match error {
        ConnectError::Failed(error) if !error.is_timeout() => describe(error),
        // A server without TLS waits for the end of what it takes for a command.
        _ if config.url.expose_secret().starts_with("rediss:") => {
            format!("{late}; does it use TLS on this port, which `rediss://` requires?")
        }
        _ => late.to_string(),
    }
}
