//! The runtime state of one endpoint: its live requests, its circuit, and when it recovered.
//!
//! An endpoint that works takes no lock to be picked: a flag says that there is nothing to be considered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::Config;
use super::address::EndpointConfig;
use super::balance::{Candidate, PickPreference, SLOW_START, stable_hash};
use super::breaker::{Breaker, CircuitAdmission, CircuitChange, CircuitState, EndpointOutcome};
use super::connector::Connector;
use super::pool::PoolKey;
use super::tls::TlsClient;

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
    /// Whether its circuit is not closed, or it is in its slow start.
    is_restricted: AtomicBool,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Health {
    breaker: Breaker,
    recovered_at: Option<Instant>,
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
            health: Mutex::new(Health {
                breaker: Breaker::new(backend.breaker, now),
                recovered_at: None,
            }),
        }
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

    /// Until when its circuit rejects requests, if it does now.
    pub(super) fn rejects_until(&self, now: Instant) -> Option<Instant> {
        if self.is_unrestricted() {
            return None;
        }
        self.health.lock().breaker.rejects_until(now)
    }

    /// The state of its circuit.
    #[must_use]
    pub fn circuit(&self, now: Instant) -> CircuitState {
        match self.is_unrestricted() {
            true => CircuitState::Closed,
            false => self.health.lock().breaker.state(now),
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
        let mut health = self.health.lock();
        let in_slow_start = |at: &Instant| now.saturating_duration_since(*at) < SLOW_START;
        health.recovered_at = health.recovered_at.filter(in_slow_start);
        let is_restricted =
            health.recovered_at.is_some() || health.breaker.state(now) != CircuitState::Closed;
        self.is_restricted.store(is_restricted, Ordering::Relaxed);
        health.recovered_at
    }

    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>, position: usize, now: Instant) -> InFlightCall {
        self.live.fetch_add(1, Ordering::Relaxed);
        InFlightCall {
            endpoint: self.clone(),
            position,
            admission: match self.is_unrestricted() {
                true => CircuitAdmission::Closed,
                false => self.health.lock().breaker.admit(now),
            },
            report: Report::Pending,
        }
    }

    fn record(&self, admission: CircuitAdmission, outcome: EndpointOutcome, now: Instant) {
        let mut health = self.health.lock();
        let change = health.breaker.record(admission, outcome, now);
        match change {
            Some(CircuitChange::Opened) => self.is_restricted.store(true, Ordering::Relaxed),
            Some(CircuitChange::Closed) => health.recovered_at = Some(now),
            None => {}
        }
        drop(health);
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
