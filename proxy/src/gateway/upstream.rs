//! The backend stage of the gateway: calls backends until the head of a response has arrived that can be forwarded.
//!
//! Nothing but informational (1xx) responses has been written to the client by then, so an attempt that fails here may
//! be followed by another one: a retry with the same backend, or a failover to its fallback. Which, is decided in
//! `backend/retry.rs`; `attempt.rs` makes one attempt, `hold.rs` waits for the first content of a stream, and
//! `outgoing.rs` adapts the request to each backend.

use std::sync::Arc;
use std::time::Instant;

use super::Stop;
use super::ask_usage::UsageRequested;
use super::mode::RequestKind;
use crate::answer::framing::ResponseFraming;
use crate::backend::balance::BalancingPolicy;
use crate::backend::breaker::EndpointOutcome;
use crate::backend::client::UsableConnections;
use crate::backend::endpoint::InFlightCall;
use crate::backend::failure::BrokenConnection;
use crate::backend::request_body::RequestBody;
use crate::backend::response::UpstreamResponse;
use crate::backend::retry::{AttemptFailure, AttemptState, NextStep, Repeatable, RetryPermit};
use crate::backend::{Backend, NoEndpoint, OpenCircuits, TriedEndpoints, WhenAllOpen};
use crate::cache::CacheDecision;
use crate::clock;
use crate::exchange::{AttemptOutcome, Exchange, UpstreamNote};
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::relay::{Relay, RelayOutcome};
use crate::http::response_body::ResponseBody;
use crate::http::session::Session;
use crate::random;
use crate::refusal::{ErrorCode, Refusal};
use attempt::Received;
use outgoing::OutgoingRequest;

mod attempt;
mod hold;
mod outgoing;

/// A call to a backend, apart from the head and the body of its request.
pub(super) struct Call<'a> {
    pub(super) connection: &'a Connection,
    pub(super) kind: RequestKind,
    pub(super) started_at: Instant,
}

/// A backend's response whose head has arrived, with everything that is needed to deliver it.
pub(super) struct Upstream {
    pub(super) pipeline: Arc<RoutePipeline>,
    /// The backend that responded: the route's, or a fallback.
    pub(super) backend: Arc<Backend>,
    pub(super) kind: RequestKind,
    pub(super) started_at: Instant,
    pub(super) usage: UsageRequested,
    /// Whether and how the response may be stored.
    pub(super) decision: CacheDecision,
    pub(super) response: UpstreamResponse,
    pub(super) framing: ResponseFraming,
    pub(super) relay: Relay,
    in_flight: InFlightCall,
}

/// The response to a call.
pub(super) struct CallResponse {
    received: Received,
    backend: Arc<Backend>,
    usage: UsageRequested,
    in_flight: InFlightCall,
}

impl Upstream {
    pub(super) fn new(
        pipeline: Arc<RoutePipeline>,
        call: &Call<'_>,
        decision: CacheDecision,
        response: CallResponse,
        relay: Relay,
    ) -> Self {
        // Another backend may respond differently: its response is not stored for this one.
        let decision = match Arc::ptr_eq(&response.backend, &pipeline.backend) {
            true => decision,
            false => CacheDecision::Bypass,
        };
        Upstream {
            pipeline,
            backend: response.backend,
            kind: call.kind,
            started_at: call.started_at,
            usage: response.usage,
            decision,
            response: response.received.response,
            framing: response.received.framing,
            relay,
            in_flight: response.in_flight,
        }
    }

    /// Reports the outcome of the attempt to the circuit breaker of its endpoint, once its response has been delivered.
    pub(super) fn report(&mut self, exchange: &mut Exchange) {
        if let Some(attempt) = exchange.attempt() {
            self.in_flight.report(proves(attempt.outcome()), clock::now);
        }
    }
}

/// What the outcome of an attempt proves of the endpoint.
fn proves(outcome: AttemptOutcome) -> EndpointOutcome {
    match outcome {
        AttemptOutcome::Ok => EndpointOutcome::Success,
        AttemptOutcome::Abandoned => EndpointOutcome::Abandoned,
        AttemptOutcome::ConnectError
        | AttemptOutcome::Timeout
        | AttemptOutcome::Reset
        | AttemptOutcome::Status5xx
        | AttemptOutcome::Error
        | AttemptOutcome::Incomplete => EndpointOutcome::Failure,
    }
}

/// The attempts of one request.
struct Attempts<'a> {
    pipeline: &'a RoutePipeline,
    call: &'a Call<'a>,
    /// The backend in use, and its position: 0 is the route's own, the others are fallbacks.
    backend: &'a Arc<Backend>,
    position: usize,
    /// The endpoints of this backend that have been tried, and how often it has been.
    tried: TriedEndpoints,
    count: u32,
    repeatable: Repeatable,
    /// The hash of what consistent balancing goes by.
    key: Option<u64>,
    connections: UsableConnections,
    /// While an attempt is a retry, or a retry is waited for.
    permit: Option<RetryPermit<'a>>,
    outgoing: OutgoingRequest,
}

/// What follows a failed attempt.
enum FollowUp {
    Attempt(InFlightCall),
    /// Another attempt with the same backend, then.
    AttemptAt(Instant),
    Deliver,
}

/// Calls the backend and, where it fails, its fallbacks; attends to the client meanwhile. The response that it returns
/// can be forwarded.
pub(super) async fn call(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    call: &Call<'_>,
    body: RequestBody,
    relay: &mut Relay,
) -> Result<CallResponse, Stop> {
    exchange.upstream = Some(UpstreamNote::begin(pipeline.backend.config().name.clone()));
    let mut attempts = Attempts::new(pipeline, call, session, exchange, body);
    let mut started_at = call.started_at;
    let mut picked = attempts.pick(0, session, exchange, started_at)?;
    loop {
        let attempt = (&mut attempts, &mut picked, started_at);
        let attempted = attempt::run(attempt, session, exchange, relay).await?;
        let Some(failure) = attempted.failure else {
            return attempts.finish(picked, exchange, attempted.result);
        };
        started_at = clock::now();
        if attempted.connection == BrokenConnection::Stale && attempts.replaces_connection() {
            continue;
        }
        match attempts.follow_up(failure, session, exchange, started_at) {
            FollowUp::Deliver => return attempts.finish(picked, exchange, attempted.result),
            FollowUp::Attempt(next) => {
                discard(attempted.result, exchange).await;
                picked = next;
            }
            FollowUp::AttemptAt(at) => {
                discard(attempted.result, exchange).await;
                drop(picked);
                wait(at, session, relay).await?;
                started_at = clock::now();
                picked = attempts.pick(attempts.position, session, exchange, started_at)?;
            }
        }
    }
}

impl<'a> Attempts<'a> {
    fn new(
        pipeline: &'a RoutePipeline,
        call: &'a Call<'a>,
        session: &Session,
        exchange: &Exchange,
        body: RequestBody,
    ) -> Self {
        let outgoing = OutgoingRequest::new(body);
        let is_consistent =
            |backend: &Arc<Backend>| backend.config().balancing == BalancingPolicy::Consistent;
        let key = pipeline.backends().any(is_consistent);
        let mut attempts = Attempts {
            pipeline,
            call,
            backend: &pipeline.backend,
            position: 0,
            tried: TriedEndpoints::new(),
            count: 0,
            repeatable: match call.kind == RequestKind::Plain && outgoing.is_replayable() {
                true => outgoing::repeatable(session, exchange),
                false => Repeatable::Unseen,
            },
            key: key.then(|| outgoing::balancing_key(pipeline, session, exchange)),
            connections: UsableConnections::PooledOrNew,
            permit: None,
            outgoing,
        };
        attempts.adapt(session, exchange);
        attempts
    }

    /// Adapts the request to the backend in use.
    fn adapt(&mut self, session: &Session, exchange: &Exchange) {
        let is_last = self.position == self.pipeline.fallbacks.len();
        self.outgoing
            .adapt(self.backend, session, exchange, is_last);
    }

    /// The backend at a position.
    fn backend_at(&self, position: usize) -> Option<&'a Arc<Backend>> {
        match position.checked_sub(1) {
            None => Some(&self.pipeline.backend),
            Some(fallback) => self.pipeline.fallbacks.get(fallback),
        }
    }

    /// Until when a backend may take.
    fn deadline(&self, backend: &Backend) -> Instant {
        self.call.started_at + backend.config().total_timeout
    }

    /// Picks an endpoint of the backend at position `from`, or of a fallback behind it if that has none to offer. If the
    /// circuits of all are open, one is tried where the configuration allows it.
    fn pick(
        &mut self,
        from: usize,
        session: &Session,
        exchange: &Exchange,
        now: Instant,
    ) -> Result<InFlightCall, Refusal> {
        let mut reason = None;
        for circuits in [OpenCircuits::Avoid, OpenCircuits::Ignore] {
            for position in from.. {
                let Some(backend) = self.backend_at(position) else {
                    break;
                };
                let may_ignore = backend.config().when_all_open == WhenAllOpen::Try;
                if circuits == OpenCircuits::Ignore && !may_ignore || self.deadline(backend) <= now
                {
                    continue;
                }
                let tried = match position == self.position {
                    true => &*self.tried,
                    false => &[],
                };
                match backend.pick(tried, self.key, circuits, now) {
                    Ok(picked) => {
                        self.use_backend(position, backend, session, exchange);
                        return Ok(picked);
                    }
                    Err(why) => {
                        reason.get_or_insert((backend, why));
                    }
                }
            }
        }
        let (backend, why) = reason.unwrap_or((self.backend, NoEndpoint::None));
        Err(backend.no_endpoint(why))
    }

    fn use_backend(
        &mut self,
        position: usize,
        backend: &'a Arc<Backend>,
        session: &Session,
        exchange: &Exchange,
    ) {
        if self.position != position {
            self.position = position;
            self.backend = backend;
            self.tried.clear();
            self.count = 0;
            self.connections = UsableConnections::PooledOrNew;
            self.adapt(session, exchange);
        }
    }

    /// Whether a request whose pooled connection broke is sent once over a new one. That is no retry: the endpoint has
    /// most likely closed the connection before it saw the request.
    fn replaces_connection(&mut self) -> bool {
        let replaces = self.connections == UsableConnections::PooledOrNew
            && self.call.kind == RequestKind::Plain
            && self.outgoing.is_replayable();
        self.connections = UsableConnections::New;
        // It is not counted.
        self.count -= u32::from(replaces);
        replaces
    }

    /// What follows an attempt that failed.
    fn follow_up(
        &mut self,
        failure: AttemptFailure,
        session: &Session,
        exchange: &Exchange,
        now: Instant,
    ) -> FollowUp {
        self.permit = None;
        if failure != AttemptFailure::Connect && !self.outgoing.is_replayable()
            || failure == AttemptFailure::Connect && !self.outgoing.has_body()
        {
            return FollowUp::Deliver;
        }
        let state = AttemptState {
            attempts: self.count,
            repeatable: self.repeatable,
            has_other_endpoint: self.backend.has_untried(&self.tried, now),
            now,
            deadline: self.deadline(self.backend),
        };
        let random = random::bits() as u32;
        let step = self.backend.config().retry.next(failure, &state, random);
        match step {
            NextStep::Deliver => return FollowUp::Deliver,
            NextStep::Failover => {}
            NextStep::OtherEndpoint | NextStep::Wait(_) => self.permit = self.backend.begin_retry(),
        }
        let position = match (&self.permit, step) {
            (Some(_), NextStep::Wait(wait)) => return FollowUp::AttemptAt(now + wait),
            (Some(_), _) => self.position,
            (None, _) => self.position + 1,
        };
        match self.pick(position, session, exchange, now) {
            Ok(picked) => FollowUp::Attempt(picked),
            Err(_) => FollowUp::Deliver,
        }
    }

    /// Whether another endpoint or backend could follow an attempt.
    fn has_alternative(&self) -> bool {
        let has_fallback = self.position < self.pipeline.fallbacks.len();
        let may_retry = self.count < self.backend.config().retry.attempts;
        has_fallback || may_retry && self.backend.endpoints().len() > 1
    }

    /// The response or the error that the client gets.
    fn finish(
        self,
        mut in_flight: InFlightCall,
        exchange: &mut Exchange,
        result: Result<Received, Refusal>,
    ) -> Result<CallResponse, Stop> {
        let received = result?;
        if received.response.head.status.is_server_error() {
            exchange.error_code = Some(ErrorCode::UpstreamStatus);
        } else if in_flight.is_probe() {
            // Long before the end of a stream.
            in_flight.report(EndpointOutcome::Success, clock::now);
        }
        Ok(CallResponse {
            received,
            backend: self.backend.clone(),
            usage: self.outgoing.usage(),
            in_flight,
        })
    }
}

/// Ends an attempt whose response is not delivered. A connection whose response has arrived is reused; any other is
/// closed, since the rest of the response may take any time.
async fn discard(result: Result<Received, Refusal>, exchange: &mut Exchange) {
    const PIECES_MAX: usize = 16;
    let Ok(mut received) = result else {
        return;
    };
    let now = clock::now();
    if let Some(attempt) = exchange.attempt() {
        attempt.succeed(now);
    }
    let body = &mut received.response.body;
    for _ in 0..PIECES_MAX {
        if body.is_at_end(now) || !matches!(body.arrived().await, Some(Some(Ok(_)))) {
            return;
        }
    }
}

/// Waits, and attends to the client meanwhile.
async fn wait(until: Instant, session: &mut Session, relay: &mut Relay) -> Result<(), Stop> {
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(until.into()) => return Ok(()),
            attended = relay.attend(session) => attend(attended)?,
        }
    }
}

/// Stops the call if its client has left, or its request must be rejected.
fn attend(attended: RelayOutcome) -> Result<(), Stop> {
    match attended {
        RelayOutcome::BodySent => Ok(()),
        RelayOutcome::ClientLeft => Err(Stop::ClientLeft),
        RelayOutcome::Refused(refusal) => Err(refusal.into()),
    }
}
