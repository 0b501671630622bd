//! The runtime state of one endpoint: its live requests, its circuit, its health, and when it recovered.
//!
//! An endpoint that works takes no lock to be picked: a flag says that there is nothing to be considered.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Config;
use super::address::EndpointConfig;
use super::balance::{Candidate, PickPreference, SLOW_START, stable_hash};
use super::breaker::{
    Breaker, CircuitAdmission, CircuitCause, CircuitChange, CircuitState, EndpointOutcome,
};
use super::connector::Connector;
use super::health::{CheckResult, Health, HealthChange, HealthCheckConfig, HealthStatus};
use super::pool::PoolKey;
use super::tls::TlsClient;
use crate::log_throttle::{LogDecision, LogThrottle};

/// How often failed connections to one endpoint are logged.
const CONNECT_FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    /// The name of its backend, for the log.
    backend: Arc<str>,
    pool_key: PoolKey,
    connector: Connector,
    /// A hash of its address that is equal in every replica.
    id: u64,
    live: AtomicUsize,
    /// Whether its circuit is not closed, it is unhealthy, or it is in its slow start.
    is_restricted: AtomicBool,
    state: Mutex<EndpointState>,
}

#[derive(Debug)]
struct EndpointState {
    breaker: Breaker,
    health: Health,
    recovered_at: Option<Instant>,
    connect_failures: LogThrottle,
}

/// Why an endpoint gets no requests, if it gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    Available,
    /// Its circuit rejects requests until then.
    Open(Instant),
    Unhealthy,
}

/// Whether the health of endpoints is considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthPolicy {
    Respect,
    Ignore,
}

/// The state of an endpoint at one moment.
#[derive(Clone, Debug)]
pub(super) struct EndpointView {
    pub(super) health: Health,
    pub(super) circuit: CircuitState,
    pub(super) cause: Option<CircuitCause>,
    pub(super) recovered_at: Option<Instant>,
}

/// A request that is in progress with an endpoint. It counts as live until it is dropped; its outcome is reported to the
/// circuit breaker once.
#[derive(Debug)]
pub struct InFlightCall {
    endpoint: Arc<Endpoint>,
    /// Its position in the list of the backend.
    position: usize,
    admission: CircuitAdmission,
    report: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    Pending,
    Made,
}

impl Endpoint {
    pub(super) fn new(
        config: EndpointConfig,
        backend: &Config,
        tls: &TlsClient,
        now: Instant,
    ) -> Self {
        Endpoint {
            id: stable_hash(config.text.as_bytes()),
            connector: Connector::new(&config.address, tls.clone()),
            config,
            backend: backend.name.clone(),
            pool_key: PoolKey::new(),
            live: AtomicUsize::new(0),
            is_restricted: AtomicBool::new(false),
            state: Mutex::new(EndpointState {
                breaker: Breaker::new(backend.breaker, now),
                health: Health::default(),
                recovered_at: None,
                connect_failures: LogThrottle::every(CONNECT_FAILURE_LOG_INTERVAL),
            }),
        }
    }

    /// Begins with the health of the same endpoint in the previous generation.
    pub(super) fn inherit_health(&self, previous: &Endpoint) {
        let health = previous.state.lock().health.clone();
        if health.is_unhealthy() {
            self.is_restricted.store(true, Ordering::Relaxed);
        }
        self.state.lock().health = health;
    }

    #[must_use]
    pub fn config(&self) -> &EndpointConfig {
        &self.config
    }

    /// How many requests are in progress with it.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn pool_key(&self) -> PoolKey {
        self.pool_key
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Whether it takes its whole share of requests.
    pub(super) fn is_unrestricted(&self) -> bool {
        !self.is_restricted.load(Ordering::Relaxed)
    }

    /// Whether it should get requests now.
    pub(super) fn availability(&self, policy: HealthPolicy, now: Instant) -> Availability {
        if self.is_unrestricted() {
            return Availability::Available;
        }
        let state = self.state.lock();
        if policy == HealthPolicy::Respect && state.health.is_unhealthy() {
            return Availability::Unhealthy;
        }
        match state.breaker.rejects_until(now) {
            Some(until) => Availability::Open(until),
            None => Availability::Available,
        }
    }

    /// What its health checks have found.
    #[must_use]
    pub fn health(&self) -> HealthStatus {
        self.state.lock().health.status()
    }

    pub(super) fn view(&self, now: Instant) -> EndpointView {
        let state = self.state.lock();
        EndpointView {
            health: state.health.clone(),
            circuit: state.breaker.state(now),
            cause: state.breaker.cause(),
            recovered_at: state.recovered_at.filter(|at| is_slow_start(*at, now)),
        }
    }

    /// The state of its circuit.
    #[must_use]
    pub fn circuit(&self, now: Instant) -> CircuitState {
        match self.is_unrestricted() {
            true => CircuitState::Closed,
            false => self.state.lock().breaker.state(now),
        }
    }

    /// What a pick depends on, apart from the circuit.
    pub(super) fn candidate(&self, preference: PickPreference, now: Instant) -> Candidate {
        Candidate {
            id: self.id,
            preference,
            live: self.live(),
            recovered_at: match self.is_unrestricted() {
                true => None,
                false => self.recovered_at(now),
            },
        }
    }

    /// When it recovered, if it is in its slow start.
    fn recovered_at(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        state.recovered_at = state.recovered_at.filter(|at| is_slow_start(*at, now));
        let is_restricted = state.recovered_at.is_some()
            || state.health.is_unhealthy()
            || state.breaker.state(now) != CircuitState::Closed;
        self.is_restricted.store(is_restricted, Ordering::Relaxed);
        state.recovered_at
    }

    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>, position: usize, now: Instant) -> InFlightCall {
        self.live.fetch_add(1, Ordering::Relaxed);
        InFlightCall {
            endpoint: self.clone(),
            position,
            admission: match self.is_unrestricted() {
                true => CircuitAdmission::Closed,
                false => self.state.lock().breaker.admit(now),
            },
            report: Report::Pending,
        }
    }

    fn record(&self, admission: CircuitAdmission, outcome: EndpointOutcome, now: Instant) {
        let mut state = self.state.lock();
        let change = state.breaker.record(admission, outcome, now);
        match change {
            Some(CircuitChange::Opened) => self.is_restricted.store(true, Ordering::Relaxed),
            Some(CircuitChange::Closed) => state.recovered_at = Some(now),
            None => {}
        }
        drop(state);
        let (backend, endpoint) = (&self.backend, &self.config.text);
        match change {
            Some(CircuitChange::Opened) => {
                log::warn!(
                    "backend {backend}: the circuit of {endpoint} opened: too many of its requests failed"
                );
            }
            Some(CircuitChange::Closed) => {
                log::info!(
                    "backend {backend}: the circuit of {endpoint} closed: it responds again"
                );
            }
            None => {}
        }
    }

    /// Logs why no connection could be opened, such as a certificate that is not trusted: clients and events get no details.
    pub(super) fn log_connect_failure(&self, error: &io::Error, now: Instant) {
        let decision = self.state.lock().connect_failures.failed(now);
        if decision == LogDecision::Log {
            let (backend, endpoint) = (&self.backend, &self.config.text);
            log::warn!("backend {backend}: cannot connect to {endpoint}: {error}");
        }
    }

    /// Records the result of a health check, and logs a change that follows from it.
    pub(crate) fn record_check(
        &self,
        result: CheckResult,
        config: &HealthCheckConfig,
        now: Instant,
    ) {
        let detail = result.detail.clone();
        let mut state = self.state.lock();
        let change = state.health.record(result, config);
        let (from, to) = match change {
            Some(HealthChange { from, to }) => (from, to),
            None => return,
        };
        match (from, to) {
            (_, HealthStatus::Unhealthy) => self.is_restricted.store(true, Ordering::Relaxed),
            // Its slow start: it is restricted until the end of that.
            (HealthStatus::Unhealthy, _) => state.recovered_at = Some(now),
            _ => {}
        }
        drop(state);
        let (backend, endpoint) = (&self.backend, &self.config.text);
        match (from, to) {
            (HealthStatus::Unknown, HealthStatus::Unhealthy) => log::warn!(
                "backend {backend}: {endpoint} is unhealthy: its first health check failed: {detail}"
            ),
            (_, HealthStatus::Unhealthy) => log::warn!(
                "backend {backend}: {endpoint} is unhealthy: failed health checks in a row: {}, \
                 the last one: {detail}",
                config.unhealthy_after
            ),
            (HealthStatus::Unhealthy, _) => log::info!(
                "backend {backend}: {endpoint} is healthy again: successful health checks in a row: {}, \
                 the last one: {detail}",
                config.healthy_after
            ),
            _ => log::info!("backend {backend}: {endpoint} is healthy: {detail}"),
        }
    }
}

/// Whether an endpoint that recovered then does not get its whole share yet.
fn is_slow_start(recovered_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(recovered_at) < SLOW_START
}

impl InFlightCall {
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Whether this request decides whether the circuit closes.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.admission != CircuitAdmission::Closed
    }

    /// Reports the outcome. The first report counts.
    pub fn report(&mut self, outcome: EndpointOutcome, now: impl FnOnce() -> Instant) {
        if self.report == Report::Made {
            return;
        }
        self.report = Report::Made;
        // An abandoned request only matters if it was the probe.
        if outcome != EndpointOutcome::Abandoned || self.is_probe() {
            self.endpoint.record(self.admission, outcome, now());
        }
    }
}

impl Drop for InFlightCall {
    fn drop(&mut self) {
        self.endpoint.live.fetch_sub(1, Ordering::Relaxed);
        self.report(EndpointOutcome::Abandoned, crate::clock::now);
    }
}
