//! The backend stage of the gateway: calls backends until the head of a response has arrived that can be forwarded.
//!
//! Nothing but informational (1xx) responses has been written to the client by then, so an attempt that fails here may
//! be followed by another one: a retry with the same backend, or a failover to its fallback. `backend/retry.rs` decides
//! which of the two. `attempts.rs` picks the endpoints and counts the attempts, `attempt.rs` makes one attempt, `hold.rs`
//! waits for the first content of a stream, and `outgoing.rs` adapts the request to each backend.

use std::sync::Arc;
use std::time::Instant;

use super::Stop;
use super::ask_usage::UsageRequested;
use super::coalesce::WaitingRequests;
use super::mode::RequestKind;
use crate::answer::framing::ResponseFraming;
use crate::backend::Backend;
use crate::backend::breaker::EndpointOutcome;
use crate::backend::endpoint::InFlightCall;
use crate::backend::failure::BrokenConnection;
use crate::backend::request_body::RequestBody;
use crate::backend::response::UpstreamResponse;
use crate::cache::http::Validators;
use crate::cache::{CacheDecision, CacheKey};
use crate::clock;
use crate::exchange::{AttemptOutcome, Exchange, UpstreamNote};
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::relay::{Relay, RelayOutcome};
use crate::http::response_body::ResponseBody;
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};
use attempt::Received;
use attempts::{Attempts, FollowUp};

mod attempt;
mod attempts;
mod hold;
mod outgoing;

/// A call to a backend, apart from the head and the body of its request.
pub(super) struct Call<'a> {
    pub(super) connection: &'a Connection,
    pub(super) kind: RequestKind,
    pub(super) started_at: Instant,
    /// Of a stored response that the backend is asked to validate.
    pub(super) validators: Option<&'a Validators>,
}

/// A backend's response whose head has arrived, with everything that is needed to deliver it.
pub(super) struct Upstream {
    pub(super) pipeline: Arc<RoutePipeline>,
    /// The backend that responded: the route's, or a fallback.
    pub(super) backend: Arc<Backend>,
    pub(super) kind: RequestKind,
    pub(super) started_at: Instant,
    pub(super) usage: UsageRequested,
    pub(super) storing: Storing,
    /// The equal requests that wait for the response.
    pub(super) waiting: WaitingRequests,
    pub(super) response: Box<UpstreamResponse>,
    pub(super) framing: ResponseFraming,
    pub(super) relay: Relay,
    in_flight: InFlightCall,
}

/// Whether the response may be stored, and under which key.
#[derive(Clone, Copy)]
pub(super) enum Storing {
    New(CacheKey),
    /// In place of one that the client did not want.
    Refreshed(CacheKey),
    Nothing,
}

impl Storing {
    fn of(decision: CacheDecision) -> Self {
        match decision {
            CacheDecision::Lookup(key) => Storing::New(key),
            CacheDecision::Refresh(key) => Storing::Refreshed(key),
            CacheDecision::Bypass(_) => Storing::Nothing,
        }
    }

    pub(super) fn key(self) -> Option<CacheKey> {
        match self {
            Storing::New(key) | Storing::Refreshed(key) => Some(key),
            Storing::Nothing => None,
        }
    }
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
        (decision, waiting): (CacheDecision, WaitingRequests),
        response: CallResponse,
        relay: Relay,
    ) -> Self {
        // Another backend may respond differently: its response is not stored for this one.
        let storing = match Arc::ptr_eq(&response.backend, &pipeline.backend) {
            true => Storing::of(decision),
            false => Storing::Nothing,
        };
        Upstream {
            pipeline,
            backend: response.backend,
            kind: call.kind,
            started_at: call.started_at,
            usage: response.usage,
            storing,
            waiting,
            response: response.received.response,
            framing: response.received.framing,
            relay,
            in_flight: response.in_flight,
        }
    }

    /// Whether the backend of the route has responded, and not a fallback.
    pub(super) fn is_of_route(&self) -> bool {
        Arc::ptr_eq(&self.backend, &self.pipeline.backend)
    }

    /// Reports the outcome of the attempt to the circuit breaker of its endpoint, once its response has been delivered.
    pub(super) fn report(&mut self, exchange: &mut Exchange) {
        if let Some(attempt) = exchange.attempt() {
            let ended = || attempt.ended.unwrap_or_else(clock::now);
            self.in_flight.report(proves(attempt.outcome()), ended);
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
            return finish(&attempts, picked, exchange, attempted.result);
        };
        started_at = clock::now();
        if attempted.connection == BrokenConnection::Stale {
            if attempts.replaces_connection(failure) {
                continue;
            }
            picked.report(EndpointOutcome::Failure, clock::now);
        }
        match attempts.follow_up(failure, session, exchange, started_at) {
            FollowUp::Deliver => return finish(&attempts, picked, exchange, attempted.result),
            FollowUp::Attempt(next) => {
                discard(attempted.result, exchange).await;
                picked = next;
            }
            FollowUp::AttemptAt(at) => {
                let failed = discard(attempted.result, exchange).await;
                drop(picked);
                wait(at, session, relay).await?;
                started_at = clock::now();
                let next = attempts.pick(attempts.position, session, exchange, started_at);
                // Nothing to attempt is not the reason why the request failed.
                picked = next.map_err(|none| failed.unwrap_or(none))?;
            }
        }
    }
}

/// The response or the error that the client gets.
fn finish(
    attempts: &Attempts<'_>,
    mut in_flight: InFlightCall,
    exchange: &mut Exchange,
    result: Result<Received, Refusal>,
) -> Result<CallResponse, Stop> {
    let received = result?;
    if received.response.head.status.is_server_error() {
        exchange.error_code = Some(ErrorCode::UpstreamStatus);
    } else if in_flight.is_probe() {
        // The head proves enough: a stream may take minutes to end, and its circuit would stay half-open until then.
        in_flight.report(EndpointOutcome::Success, clock::now);
    }
    Ok(CallResponse {
        received,
        backend: attempts.backend.clone(),
        usage: attempts.outgoing.usage(),
        in_flight,
    })
}

/// Ends an attempt whose response is not delivered. A connection whose response has arrived is reused; any other is
/// closed, since the rest of the response may take any time. Returns the error for a client that gets no other response.
async fn discard(result: Result<Received, Refusal>, exchange: &mut Exchange) -> Option<Refusal> {
    const PIECES_MAX: usize = 16;
    let mut received = match result {
        Ok(received) => received,
        Err(refusal) => return Some(refusal),
    };
    let now = clock::now();
    let mut name = None;
    if let Some(attempt) = exchange.attempt() {
        attempt.succeed(now);
        name = Some(attempt.backend.clone());
    }
    let body = &mut received.response.body;
    for _ in 0..PIECES_MAX {
        if body.is_at_end(now) || !matches!(body.arrived().await, Some(Some(Ok(_)))) {
            break;
        }
    }
    let (name, status) = (name?, received.response.head.status.as_u16());
    let detail = format!("backend {name} responded with {status}");
    Some(Refusal::new(ErrorCode::UpstreamStatus, detail))
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
