//! The body stage of the gateway: the body of a request is buffered, or passed through as it arrives.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;

use super::mode::{BodyMode, RequestKind};
use super::model_request::operation;
use super::{Stop, ask_usage};
use crate::backend::Backend;
use crate::backend::request_body::RequestBody;
use crate::backend::retry::{BodyReplay, RepeatTraits, Repeatable, RequestOrigin};
use crate::body::{self, Body};
use crate::clock;
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::budget::{Booking, Budget};
use crate::http::budgeted_reader::BudgetedReader;
use crate::http::relay::{Pacing, Relay, RelayLimits, TrailingBytes};
use crate::http::session::Session;
use crate::signature::delivery::Delivery;

/// The largest body that is buffered only so that it can be sent again.
const REPLAYED_BYTES_MAX: u64 = 10 << 20;

/// The body of a request on its way to the backend.
pub(super) enum InboundBody {
    Buffered(Body),
    /// It has not been read yet.
    PassThrough,
}

impl InboundBody {
    /// The whole body, if it is buffered.
    pub(super) fn buffered(&self) -> Option<&[u8]> {
        match self {
            InboundBody::Buffered(body) => Some(&body.bytes),
            InboundBody::PassThrough => None,
        }
    }

    /// The bytes that have been read: none for a pass-through body.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffered().unwrap_or_default()
    }
}

/// A body on its way to a backend.
pub(super) struct ForwardedBody {
    pub(super) body: RequestBody,
    /// Attends to the client meanwhile.
    pub(super) relay: Relay,
    /// Of a buffered body, which may be sent more than once.
    pub(super) booking: Option<Booking>,
}

/// Reads the whole body, unless it is passed through.
pub(super) async fn read(
    pipeline: &RoutePipeline,
    kind: RequestKind,
    session: &mut Session,
    exchange: &mut Exchange,
    budget: &Arc<Budget>,
) -> Result<InboundBody, Stop> {
    let route = &pipeline.config;
    let changes = |backend: &Backend| {
        ask_usage::may_ask(backend, session, exchange) || may_map(backend, exchange)
    };
    let mode = pipeline.body_mode(kind, session);
    // It may have to be read, to be changed or to be sent again.
    let is_needed = mode == BodyMode::PassThrough
        && kind == RequestKind::Plain
        && (pipeline.backends().any(|backend| changes(backend))
            || is_kept(pipeline, session, exchange, budget));
    if mode == BodyMode::PassThrough && !is_needed {
        body::check_announced(session, route.body_bytes)?;
        session.check_arrived_body()?;
        return Ok(InboundBody::PassThrough);
    }
    let since = exchange.timing.lap_started();
    let read = body::read(session, route.body_bytes, route.body_timeout, budget).await;
    if read.is_err() {
        // Whatever the error was, the time was spent waiting for the client.
        let waited = clock::now().saturating_duration_since(since);
        exchange.timing.add_client_wait(waited);
    }
    let body = read?;
    exchange.request_body_bytes = body.bytes.len() as u64;
    exchange.timing.add_client_wait(body.client_wait);
    Ok(InboundBody::Buffered(body))
}

/// Whether a large body is buffered only so that it can be sent again. It is not where its length is unknown, or while half
/// of the memory for bodies is in use.
fn is_kept(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
    budget: &Budget,
) -> bool {
    let is_small = |bytes| bytes <= REPLAYED_BYTES_MAX && budget.is_half_free_beside(bytes);
    let traits = RepeatTraits {
        method: &exchange.method,
        operation: operation(exchange),
        headers: &session.head().headers,
        origin: RequestOrigin::Client,
        body: BodyReplay::Whole,
    };
    pipeline.repeats_requests()
        && session.announced_bytes().is_some_and(is_small)
        && Repeatable::of(&traits) == Repeatable::Yes
}

/// Whether a backend may know the model of the request by another name.
fn may_map(backend: &Backend, exchange: &Exchange) -> bool {
    !backend.config().model_map.is_empty() && operation(exchange).is_some()
}

/// The body for the backend, and the relay that attends to the client meanwhile. `reader` reads a
/// pass-through body. gRPC messages may be `messages_idle` apart.
pub(super) async fn forward(
    pipeline: &RoutePipeline,
    kind: RequestKind,
    body: InboundBody,
    reader: Option<Box<BudgetedReader>>,
    session: &mut Session,
    messages_idle: Duration,
) -> Result<ForwardedBody, Stop> {
    let trailing = match kind {
        RequestKind::Upgrade => TrailingBytes::Forbidden,
        RequestKind::Plain | RequestKind::Grpc => TrailingBytes::Pipelined,
    };
    let now = clock::now();
    let (bytes, booking) = match body {
        InboundBody::Buffered(body) => {
            let (bytes, booking) = body.into_parts();
            (bytes, Some(booking))
        }
        InboundBody::PassThrough if session.is_body_empty() => (Bytes::new(), None),
        InboundBody::PassThrough => {
            if session.expects_continue() && session.write_continue().await.is_err() {
                return Err(Stop::ClientLeft);
            }
            let (pieces, body) = RequestBody::pass_through(session.announced_bytes());
            let bounds = bounds(pipeline, kind, messages_idle);
            return Ok(ForwardedBody {
                body,
                relay: Relay::open(pieces, bounds, trailing, reader, now),
                booking: None,
            });
        }
    };
    Ok(ForwardedBody {
        body: RequestBody::whole(bytes),
        relay: Relay::whole(trailing, now),
        booking,
    })
}

/// Lets a platform's delivery outlive its client: once the whole request has been sent to the backend, it is
/// completed even if the client disconnects.
pub(super) fn outlive_client(
    delivery: Option<&Delivery>,
    body: RequestBody,
    session: &mut Session,
    connection: &Connection,
) -> RequestBody {
    if delivery.is_none() {
        return body;
    }
    let sent = Arc::new(AtomicBool::new(false));
    session.detach_when_sent(sent.clone(), connection);
    body.flagging(Some(sent))
}

fn bounds(pipeline: &RoutePipeline, kind: RequestKind, messages_idle: Duration) -> RelayLimits {
    let (pacing, backend_idle) = match kind {
        RequestKind::Grpc => (Pacing::Unpaced, messages_idle),
        RequestKind::Plain | RequestKind::Upgrade => {
            let idle = pipeline.config.body_timeout;
            (
                Pacing::Steady { idle },
                pipeline.backend.config().idle_timeout,
            )
        }
    };
    RelayLimits {
        bytes_max: pipeline.config.body_bytes,
        pacing,
        backend_idle,
    }
}
