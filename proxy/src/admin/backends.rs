//! `GET /api/backends`: the backends and their endpoints, with health, circuit and live requests.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::pages::{Pages, typed};
use crate::alert::store::timestamp;
use crate::backend::balance::BalancingPolicy;
use crate::backend::breaker::CircuitState;
use crate::backend::health::{CheckResult, CheckVerdict, HealthStatus};
use crate::backend::snapshot::{BackendSnapshot, EndpointSnapshot};

/// Where the state of the backends comes from.
pub trait BackendSnapshots: Debug + Send + Sync {
    /// The state now, in the order of the configuration.
    fn snapshots(&self) -> Vec<BackendSnapshot>;
}

pub(super) async fn backends(State(pages): State<Arc<Pages>>) -> Response {
    let snapshots = pages.state.backends.snapshots();
    let backends: Vec<Value> = snapshots.iter().map(shown_backend).collect();
    typed(
        "application/json",
        format!("{}\n", json!({"backends": backends})),
    )
}

fn shown_backend(backend: &BackendSnapshot) -> Value {
    let endpoints = backend.endpoints.iter().map(shown_endpoint);
    json!({
        "name": *backend.name,
        "load_balancing": match backend.policy {
            BalancingPolicy::RoundRobin => "round_robin",
            BalancingPolicy::LeastRequest => "least_request",
            BalancingPolicy::Consistent => "consistent",
        },
        "fallback": backend.fallback.as_deref(),
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn shown_endpoint(endpoint: &EndpointSnapshot) -> Value {
    let at = |at: Duration| json!(timestamp(at));
    json!({
        "url": *endpoint.url,
        "addresses": endpoint.addresses,
        "health": match endpoint.health {
            None => "unchecked",
            Some(HealthStatus::Unknown) => "unknown",
            Some(HealthStatus::Healthy) => "healthy",
            Some(HealthStatus::Unhealthy) => "unhealthy",
        },
        "last_check": endpoint.last_check.as_ref().map(shown_check),
        "circuit": match endpoint.circuit {
            CircuitState::Closed => "closed",
            CircuitState::Open { .. } => "open",
            CircuitState::HalfOpen => "half_open",
        },
        "reason": endpoint.reason,
        "until": endpoint.until.map(at),
        "live": endpoint.live,
    })
}

fn shown_check(check: &CheckResult) -> Value {
    json!({
        "result": match check.verdict {
            CheckVerdict::Passed => "passed",
            CheckVerdict::Failed => "failed",
        },
        "detail": check.detail,
        "at": timestamp(check.at),
    })
}
