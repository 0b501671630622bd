//! The backend stage: picks an endpoint (`balance.rs`), and exchanges request and response with it over a connection
//! pool. A circuit breaker for each endpoint (`breaker.rs`) stops using those that fail.
//!
//! A response ([`response::UpstreamResponse`]) depends on no other stage. Which failed attempts are followed by another
//! one is decided in `retry.rs`; the gateway makes the attempts.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use http::Request;
use smallvec::SmallVec;

pub mod address;
pub mod ask_usage;
pub mod balance;
pub mod breaker;
pub mod checker;
pub mod client;
pub mod connector;
mod dial;
pub mod endpoint;
pub mod failure;
pub mod health;
pub(crate) mod http1;
mod http2;
pub mod informational;
mod json_member;
pub mod loops;
pub mod model_map;
pub mod pool;
pub mod request_body;
pub mod request_head;
mod resolve;
pub mod response;
pub mod retry;
mod settings;
pub mod snapshot;
pub mod tls;
pub mod wire;

use crate::clock;
use crate::exchange::Attempt;
use crate::random;
use crate::refusal::{ErrorCode, Refusal};
use crate::units;
use address::EndpointConfig;
use balance::PickPreference;
use client::{CallDeadline, CallTarget};
use connector::UpstreamProtocol;
use endpoint::{Availability, Endpoint, HealthPolicy, InFlightCall};
use failure::{ConnectionError, Failure, UnansweredRequest};
use informational::InformationalResponses;
use request_body::RequestBody;
use response::UpstreamResponse;
use retry::{RetryBudget, RetryPermit};
pub use settings::{Config, WhenAllOpen};
use tls::TlsClient;

/// A backend with its connection pools. It is shared by `Arc`; a new generation of the configuration may keep it
/// where its [`Config`] is equal.
pub struct Backend {
    config: Arc<Config>,
    endpoints: Box<[Arc<Endpoint>]>,
    turn: AtomicUsize,
    retries: RetryBudget,
}

/// The positions of the endpoints that a request has been sent to, the last one at the end.
pub type TriedEndpoints = SmallVec<[usize; 4]>;

/// Why no endpoint can be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// The backend has none.
    None,
    /// Each of them has an open circuit, or is unhealthy where that matters.
    NoneAvailable,
}

/// Which endpoints may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EligibleEndpoints {
    /// Those that are not unhealthy and whose circuit is not open.
    Available,
    /// Unhealthy ones as well: there is nothing better.
    Unhealthy,
    /// Those with an open circuit as well.
    All,
}

impl Backend {
    #[must_use]
    pub fn new(config: Arc<Config>, tls: &TlsClient) -> Self {
        Backend::replacing(None, config, tls)
    }

    /// Takes over the endpoints of `previous` whose settings are equal, with their connections and circuits, and of other
    /// endpoints the health, if they are checked in the same way.
    #[must_use]
    pub fn replacing(previous: Option<&Backend>, config: Arc<Config>, tls: &TlsClient) -> Self {
        let now = clock::now();
        let endpoints = config.endpoints.iter().map(|endpoint| {
            let known = previous.and_then(|previous| previous.endpoint(endpoint));
            let (Some(known), Some(previous)) = (known, previous) else {
                return Arc::new(Endpoint::new(endpoint.clone(), &config, tls, now));
            };
            if previous.config.has_equal_endpoints(&config) {
                return known.clone();
            }
            let endpoint = Endpoint::new(endpoint.clone(), &config, tls, now);
            if previous.config.health_check == config.health_check {
                endpoint.inherit_health(known);
            }
            Arc::new(endpoint)
        });
        Backend {
            endpoints: endpoints.collect(),
            config,
            turn: AtomicUsize::new(0),
            retries: RetryBudget::default(),
        }
    }

    fn endpoint(&self, config: &EndpointConfig) -> Option<&Arc<Endpoint>> {
        let mut endpoints = self.endpoints.iter();
        endpoints.find(|endpoint| endpoint.config() == config)
    }

    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Picks the endpoint for a request, preferably one that it has not been sent to. `key` is the hash of what
    /// consistent balancing goes by.
    ///
    /// # Errors
    /// There is none, or none that is eligible.
    pub fn pick(
        &self,
        tried: &[usize],
        key: Option<u64>,
        eligible: EligibleEndpoints,
        now: Instant,
    ) -> Result<InFlightCall, NoEndpoint> {
        let position = match &*self.endpoints {
            [] => return Err(NoEndpoint::None),
            [only] if eligible == EligibleEndpoints::All || only.is_unrestricted() => 0,
            _ => self.choose(tried, key, eligible, now)?,
        };
        match self.endpoints.get(position) {
            Some(endpoint) => Ok(endpoint.begin(position, now)),
            None => Err(NoEndpoint::None),
        }
    }

    fn choose(
        &self,
        tried: &[usize],
        key: Option<u64>,
        eligible: EligibleEndpoints,
        now: Instant,
    ) -> Result<usize, NoEndpoint> {
        let out = match eligible {
            EligibleEndpoints::Available => self.out_of_rotation(HealthPolicy::Respect, now)?,
            EligibleEndpoints::Unhealthy => self.out_of_rotation(HealthPolicy::Ignore, now)?,
            EligibleEndpoints::All => SmallVec::new(),
        };
        let candidates = self.endpoints.iter().enumerate();
        let candidates = candidates.map(|(position, endpoint)| {
            let preference = match tried.contains(&position) {
                _ if out.contains(&position) => PickPreference::Unavailable,
                true if tried.last() == Some(&position) => PickPreference::TriedLast,
                true => PickPreference::Tried,
                false => PickPreference::Untried,
            };
            endpoint.candidate(preference, now)
        });
        let candidates: SmallVec<[_; 8]> = candidates.collect();
        let random = random::bits() as u64;
        let policy = self.config.balancing;
        balance::pick(policy, &candidates, &self.turn, key, random, now)
            .ok_or(NoEndpoint::NoneAvailable)
    }

    /// The endpoints that get no requests: those that are unhealthy, and of the others at most half, those whose circuit
    /// opened first. The rest stays, so that those that work are not overloaded.
    fn out_of_rotation(
        &self,
        policy: HealthPolicy,
        now: Instant,
    ) -> Result<SmallVec<[usize; 4]>, NoEndpoint> {
        let mut out = SmallVec::new();
        let mut open: SmallVec<[(Instant, usize); 4]> = SmallVec::new();
        for (position, endpoint) in self.endpoints.iter().enumerate() {
            match endpoint.availability(policy, now) {
                Availability::Available => {}
                Availability::Unhealthy => out.push(position),
                Availability::Open(until) => open.push((until, position)),
            }
        }
        let others = self.endpoints.len() - out.len();
        if open.len() == others {
            return Err(NoEndpoint::NoneAvailable);
        }
        open.sort_unstable();
        open.truncate(others / 2);
        out.extend(open.into_iter().map(|(_, position)| position));
        Ok(out)
    }

    /// Whether an endpoint that may be picked has not been tried.
    #[must_use]
    pub fn has_untried(&self, tried: &[usize], now: Instant) -> bool {
        if self.endpoints.len() == 1 && !tried.is_empty() {
            return false;
        }
        let out = self.out_of_rotation(HealthPolicy::Respect, now);
        let out = out.or_else(|_| self.out_of_rotation(HealthPolicy::Ignore, now));
        let out = match (out, self.config.when_all_open) {
            (Ok(out), _) => out,
            (Err(_), WhenAllOpen::Try) => SmallVec::new(),
            (Err(_), WhenAllOpen::Fail) => return false,
        };
        let mut positions = 0..self.endpoints.len();
        positions.any(|position| !tried.contains(&position) && !out.contains(&position))
    }

    /// Whether an endpoint is healthy and has no open circuit.
    #[must_use]
    pub fn has_available(&self, now: Instant) -> bool {
        self.out_of_rotation(HealthPolicy::Respect, now).is_ok()
    }

    /// A retry within the retry budget.
    #[must_use]
    pub fn begin_retry(&self) -> Option<RetryPermit<'_>> {
        let live = self.endpoints.iter().map(|endpoint| endpoint.live()).sum();
        self.retries.take(live, self.config.retry.budget)
    }

    /// How many endpoints have an open circuit, or one that is half-open with its probe in progress. One that waits for a
    /// probe is not counted: without requests it would be, for ever.
    #[must_use]
    pub fn open_circuits(&self, now: Instant) -> usize {
        let availability =
            |endpoint: &Arc<Endpoint>| endpoint.availability(HealthPolicy::Ignore, now);
        let endpoints = self.endpoints.iter().map(availability);
        endpoints
            .filter(|availability| matches!(availability, Availability::Open(_)))
            .count()
    }

    /// Sends a request to an endpoint, and waits for the head of its response. The outcome is noted in `attempt`, and
    /// a failure is reported to the circuit breaker; informational responses go to `informational`.
    /// Dropping the future ends the exchange and closes its connection.
    ///
    /// # Errors
    /// There was no response.
    pub async fn send(
        &self,
        call: &mut InFlightCall,
        request: Request<RequestBody>,
        protocol: UpstreamProtocol,
        deadline: CallDeadline,
        informational: Option<&InformationalResponses>,
        attempt: &mut Attempt,
    ) -> Result<Box<UpstreamResponse>, UnansweredRequest> {
        let to = CallTarget {
            pool_key: call.endpoint().pool_key(),
            connector: call.endpoint().connector(),
            config: &self.config,
        };
        match client::send(to, (request, protocol), deadline, informational).await {
            Ok(response) => {
                attempt.connect = response.connect;
                attempt.responded(response.head.status.as_u16(), clock::now());
                Ok(response)
            }
            Err(unanswered) => {
                if let Failure::Connect(error) = &unanswered.failure {
                    call.endpoint().log_connect_failure(error, clock::now());
                }
                Err(unanswered)
            }
        }
    }

    /// How long the first byte of a response may take.
    #[must_use]
    pub fn first_byte_timeout(&self) -> Duration {
        self.config
            .first_byte_timeout
            .min(self.config.total_timeout)
    }

    /// The refusal for a backend that sent no response in time.
    #[must_use]
    pub fn no_first_byte(&self) -> Refusal {
        self.no_response_within(self.first_byte_timeout())
    }

    /// The refusal for a backend that sent no response before `total_timeout` of the request.
    #[must_use]
    pub fn no_response_in_total(&self) -> Refusal {
        let (name, within) = (&self.config.name, units::shown(self.config.total_timeout));
        let detail = format!("backend {name} sent no response before total_timeout, {within}");
        Refusal::new(ErrorCode::UpstreamTimeout, detail)
    }

    /// The refusal for a backend that was silent for this time.
    #[must_use]
    pub fn no_response_within(&self, time: Duration) -> Refusal {
        let name = &self.config.name;
        let within = units::shown(time);
        let detail = format!("backend {name} sent no response within {within}");
        Refusal::new(ErrorCode::UpstreamTimeout, detail)
    }

    /// The refusal for a response that cannot be forwarded.
    #[must_use]
    pub fn unusable(&self, flaw: &str) -> Refusal {
        let name = &self.config.name;
        let detail = format!("backend {name} sent invalid HTTP: {flaw}");
        Refusal::new(ErrorCode::UpstreamReset, detail)
    }

    /// The refusal where no endpoint can be picked.
    #[must_use]
    pub fn no_endpoint(&self, why: NoEndpoint) -> Refusal {
        let name = &self.config.name;
        match why {
            NoEndpoint::None => Refusal::new(
                ErrorCode::NoEndpoint,
                format!("backend {name} has no endpoint"),
            ),
            // Unhealthy ones are used if there is nothing better.
            NoEndpoint::NoneAvailable => {
                let detail = format!("the circuit of every endpoint of backend {name} is open");
                Refusal::new(ErrorCode::CircuitOpen, detail)
            }
        }
    }

    /// The refusal for a request that got no response.
    #[must_use]
    pub fn refusal_of(&self, failure: &Failure) -> Refusal {
        let name = &self.config.name;
        log::debug!("backend {name}: {failure:?}");
        match failure {
            Failure::Connect(_) => Refusal::new(
                ErrorCode::UpstreamConnect,
                format!("backend {name} refused the connection, or connecting timed out"),
            ),
            Failure::TimedOut => self.no_first_byte(),
            Failure::Connection(ConnectionError::Malformed(flaw)) => self.unusable(flaw),
            Failure::Connection(_) => Refusal::new(
                ErrorCode::UpstreamReset,
                format!("backend {name} closed the connection, or sent invalid HTTP"),
            ),
        }
    }
}

#[cfg(test)]
#[path = "backend/pick_tests.rs"]
mod tests;
