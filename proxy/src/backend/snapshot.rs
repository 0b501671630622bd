//! The state of a backend and its endpoints at one moment, for operators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Backend;
use super::balance::{BalancingPolicy, SLOW_START};
use super::breaker::{CircuitCause, CircuitState};
use super::endpoint::{Endpoint, EndpointView};
use super::health::{CheckResult, CheckVerdict, HealthStatus};
use crate::units;

/// A backend.
#[derive(Clone, Debug)]
pub struct BackendSnapshot {
    pub name: Arc<str>,
    pub policy: BalancingPolicy,
    pub fallback: Option<Arc<str>>,
    pub endpoints: Vec<EndpointSnapshot>,
}

/// One of its endpoints. It holds no secret: the address of an endpoint has no credentials.
#[derive(Clone, Debug)]
pub struct EndpointSnapshot {
    pub url: Arc<str>,
    /// The addresses of its name; none of a Unix socket.
    pub addresses: Vec<SocketAddr>,
    /// `None`: it is not checked.
    pub health: Option<HealthStatus>,
    pub last_check: Option<CheckResult>,
    pub circuit: CircuitState,
    /// Why it does not get its whole share of requests.
    pub reason: Option<String>,
    /// Until when its circuit is open, or its slow start lasts; since the Unix epoch. An unhealthy one has to pass its
    /// checks, which may take any time.
    pub until: Option<Duration>,
    pub live: usize,
}

impl Backend {
    /// The state at `now`, which is `unix_now` since the Unix epoch.
    #[must_use]
    pub fn snapshot(&self, now: Instant, unix_now: Duration) -> BackendSnapshot {
        let config = self.config();
        let is_checked = config.health_check.is_some();
        let endpoints = self.endpoints().iter();
        BackendSnapshot {
            name: config.name.clone(),
            policy: config.balancing,
            fallback: config.fallback.clone(),
            endpoints: endpoints
                .map(|endpoint| EndpointSnapshot::new(endpoint, is_checked, now, unix_now))
                .collect(),
        }
    }
}

impl EndpointSnapshot {
    fn new(endpoint: &Endpoint, is_checked: bool, now: Instant, unix_now: Duration) -> Self {
        let view = endpoint.view(now);
        let ends_at = match (view.circuit, view.recovered_at) {
            _ if view.health.is_unhealthy() => None,
            (CircuitState::Open { until }, _) => Some(until),
            (CircuitState::Closed, Some(recovered_at)) => Some(recovered_at + SLOW_START),
            _ => None,
        };
        EndpointSnapshot {
            url: endpoint.config().text.clone(),
            addresses: endpoint.connector().addresses(),
            health: is_checked.then(|| view.health.status()),
            reason: reason(&view),
            circuit: view.circuit,
            until: ends_at.map(|at| unix_now + at.saturating_duration_since(now)),
            live: endpoint.live(),
            last_check: view.health.last().cloned(),
        }
    }
}

fn reason(view: &EndpointView) -> Option<String> {
    let last = view.health.last();
    let failed = last.filter(|last| last.verdict == CheckVerdict::Failed);
    let unhealthy = view.health.is_unhealthy().then(|| match failed {
        Some(last) => format!("health check failed: {}", last.detail),
        None => "health checks failed".to_owned(),
    });
    let open = view.cause.map(|cause| {
        let CircuitCause {
            requests,
            failures,
            window,
        } = cause;
        let window = units::shown(window);
        format!("{failures} of {requests} requests within {window} failed")
    });
    let reasons: Vec<String> = unhealthy.into_iter().chain(open).collect();
    match (reasons.is_empty(), view.recovered_at) {
        (false, _) => Some(reasons.join("; ")),
        (true, Some(_)) => Some("slow start after recovery".to_owned()),
        (true, None) => None,
    }
}
