//! Makes the active health checks: one task for each endpoint of a backend that has them.
//!
//! A check is a GET over a connection of its own, so that it also proves that the endpoint accepts connections, with the
//! TLS settings, the protocol and the `request_headers` of the backend. Only the head of the response is waited for. A
//! check that is not over at its timeout is dropped, and its connection with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::connector::{Negotiated, UpstreamProtocol};
use super::endpoint::Endpoint;
use super::failure::{ConnectionError, Failure, is_local};
use super::health::{CheckResult, CheckVerdict, HealthCheckConfig};
use super::http1::Http1Connection;
use super::http2::{Http2Connection, Http2Stream};
use super::pool::PoolKey;
use super::request_body::RequestBody;
use super::response::{UpstreamBody, UpstreamResponse};
use super::{Backend, Config, request_head};
use crate::http::response_body::ResponseBody;
use crate::{backoff, clock, random, units};

/// The first check of an endpoint is made within this time, or within the interval, if that is shorter.
const FIRST_WITHIN: Duration = Duration::from_secs(1);
/// The time between two checks differs from the interval by at most this part of it.
const JITTER: u32 = 10;
/// How much of a body that has arrived with the head is read, so that closing the connection does not reset it.
const PIECES_MAX: usize = 16;

/// The tasks that check endpoints. Dropping it ends them.
#[derive(Debug, Default)]
pub struct HealthChecks {
    tasks: JoinSet<()>,
    running: HashMap<PoolKey, RunningCheck>,
}

/// The task of one endpoint.
#[derive(Debug)]
struct RunningCheck {
    /// The settings that it was started with.
    config: Arc<Config>,
    task: AbortHandle,
}

impl HealthChecks {
    /// Starts and ends tasks, so that exactly the endpoints of these backends are checked. A task whose backend has not
    /// changed goes on.
    pub fn set<'b>(&mut self, backends: impl IntoIterator<Item = &'b Arc<Backend>>) {
        let mut checked = HashSet::new();
        for backend in backends {
            let config = backend.config();
            for endpoint in backend.endpoints() {
                if config.health_check.is_none() || !checked.insert(endpoint.pool_key()) {
                    continue;
                }
                let running = self.running.get(&endpoint.pool_key());
                if running.is_some_and(|running| Arc::ptr_eq(&running.config, config)) {
                    continue;
                }
                let checks = check_periodically(endpoint.clone(), config.clone());
                let running = RunningCheck {
                    config: config.clone(),
                    task: self.tasks.spawn(checks),
                };
                if let Some(earlier) = self.running.insert(endpoint.pool_key(), running) {
                    earlier.task.abort();
                }
            }
        }
        self.running.retain(|endpoint, running| {
            let stays = checked.contains(endpoint);
            if !stays {
                running.task.abort();
            }
            stays
        });
    }

    /// Waits for a task that has panicked; tasks do not end otherwise, unless they are ended here.
    pub async fn panicked(&mut self) -> JoinError {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_panic() => return error,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

async fn check_periodically(endpoint: Arc<Endpoint>, backend: Arc<Config>) {
    let Some(config) = &backend.health_check else {
        return;
    };
    // Replicas, and the endpoints of one, are not checked at the same time.
    let first = backoff::jitter(config.interval.min(FIRST_WITHIN), random::bits() as u32);
    tokio::time::sleep(first).await;
    loop {
        let begun = clock::now();
        if let Some(result) = check(&endpoint, &backend, config).await {
            endpoint.record_check(result, config, clock::now());
        }
        let wait = wait_after(config.interval, random::bits() as u32);
        tokio::time::sleep_until((begun + wait).into()).await;
    }
}

/// The time between the beginnings of two checks. `random` are random bits.
fn wait_after(interval: Duration, random: u32) -> Duration {
    interval - interval / JITTER + backoff::jitter(interval * 2 / JITTER, random)
}

/// Makes one check; `None` if it proves nothing of the endpoint.
async fn check(
    endpoint: &Endpoint,
    backend: &Config,
    config: &HealthCheckConfig,
) -> Option<CheckResult> {
    let requested = clock::timeout(config.timeout, status(endpoint, backend, config)).await;
    let (verdict, detail) = match requested.unwrap_or(Err(Failure::TimedOut)) {
        Ok(status) => (
            config.expected.verdict(status),
            format!("status {}", status.as_u16()),
        ),
        Err(Failure::Connect(error)) if is_local(&error) => {
            log::debug!("a health check was not made: {error}");
            return None;
        }
        Err(Failure::TimedOut) => {
            let within = units::shown(config.timeout);
            (CheckVerdict::Failed, format!("no response within {within}"))
        }
        Err(failure) => (CheckVerdict::Failed, failure.to_string()),
    };
    Some(CheckResult {
        verdict,
        detail: detail.into(),
        at: clock::unix_now(),
    })
}

/// The status of the response to the check.
async fn status(
    endpoint: &Endpoint,
    backend: &Config,
    config: &HealthCheckConfig,
) -> Result<StatusCode, Failure> {
    let deadline = clock::now() + config.timeout;
    let head = request_head::health_check(&config.path, backend, endpoint.config());
    let connector = endpoint.connector();
    let offer = connector.offer(UpstreamProtocol::Any);
    let opened = connector.open(offer, backend.connect_timeout).await;
    let (wire, negotiated) = opened.map_err(Failure::Connect)?;
    let none = RequestBody::whole(Bytes::new());
    let mut response = match negotiated {
        Negotiated::Http1 => {
            let mut connection = Http1Connection::new(wire);
            connection.begin(&head, none);
            let head = connection.response_head(deadline, None).await?;
            UpstreamResponse::over_http1(head, connection, endpoint.pool_key(), None)
        }
        Negotiated::Http2 => {
            let begun = Http2Connection::begin(wire, backend).await;
            // Closed with its only stream.
            let connection = begun.map_err(Failure::Connect)?;
            let unprocessed = Failure::Connection(ConnectionError::Unprocessed);
            let (sender, slot) = connection.take_slot().ok_or(unprocessed)?;
            let sender = Http2Connection::ready(sender, &slot).await?;
            let mut stream = Http2Stream::begin(sender, slot, head, none)?;
            let head = stream.response_head(deadline, None).await?;
            UpstreamResponse::over_http2(head, stream, None)
        }
    };
    read_arrived(&mut response.body).await;
    Ok(response.head.status)
}

/// Reads what has arrived of a body; the connection is not used again.
async fn read_arrived(body: &mut UpstreamBody) {
    body.close_connection_at_end();
    for _ in 0..PIECES_MAX {
        if !matches!(body.arrived().await, Some(Some(Ok(_)))) {
            return;
        }
    }
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
