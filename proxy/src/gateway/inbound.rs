//! The body stage on a real request: read whole, or passed through as it comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::pipeline::RoutePipeline;
use super::upstream::Kind;
use super::{Stop, question};
use crate::backend::ask_usage;
use crate::backend::request_body::RequestBody;
use crate::body::{self, Body};
use crate::clock;
use crate::exchange::Exchange;
use crate::http::Connection;
use crate::http::budget::Budget;
use crate::http::budgeted_reader::BudgetedReader;
use crate::http::relay::{Pacing, Relay, RelayLimits, TrailingBytes};
use crate::http::session::Session;
use crate::model::operation::Operation;
use crate::signature::delivery::Delivery;

/// A body, whole, or one that is still to come.
pub(super) enum Inbound {
    Buffered(Body),
    PassedThrough,
}

impl Inbound {
    /// What has been read of it.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Inbound::Buffered(body) => &body.bytes,
            Inbound::PassedThrough => &[],
        }
    }
}

/// Whether weir asks for the usage of the answer, though the client does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageAsked {
    Yes,
    No,
}

/// Reads the body, unless no stage looks into it and it goes on as it comes.
pub(super) async fn read(
    pipeline: &RoutePipeline,
    kind: Kind,
    session: &mut Session,
    exchange: &mut Exchange,
    budget: &Arc<Budget>,
) -> Result<Inbound, Stop> {
    let route = &pipeline.config;
    let may_change = kind == Kind::Plain && may_ask_usage(pipeline, session, exchange);
    if pipeline.relays(kind, session) && !may_change {
        body::check_announced(session, route.body_bytes)?;
        session.check_arrived_body()?;
        return Ok(Inbound::PassedThrough);
    }
    let since = clock::now();
    let read = body::read(session, route.body_bytes, route.body_timeout, budget).await;
    if read.is_err() {
        // Whatever was wrong with it, it was waited for.
        let waited = clock::now().saturating_duration_since(since);
        exchange.timing.waited_for_client(waited);
    }
    let body = read?;
    exchange.request_body_bytes = body.bytes.len() as u64;
    exchange.timing.waited_for_client(body.client_wait);
    Ok(Inbound::Buffered(body))
}

/// Whether the usage of the answer is asked for, if this is a stream whose client does not.
fn may_ask_usage(pipeline: &RoutePipeline, session: &Session, exchange: &Exchange) -> bool {
    let path = exchange.path.trim_end_matches('/');
    pipeline.backend.config().ask_usage
        && question::operation(exchange) == Some(Operation::Chat)
        // Vertex AI has the formats of other makers under paths of its own.
        && path.ends_with("/completions")
        && ask_usage::may_change(&session.head().headers)
}

/// Asks for the usage of the answer in the body that goes on, if the client does not and the backend is to
/// be asked. What was checked before is the client's own.
pub(super) fn ask_usage(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
    body: &mut Inbound,
) -> UsageAsked {
    let Inbound::Buffered(body) = body else {
        return UsageAsked::No;
    };
    if !exchange.model.request_stream || !may_ask_usage(pipeline, session, exchange) {
        return UsageAsked::No;
    }
    match ask_usage::with_usage_asked(&body.bytes) {
        Some(changed) => {
            body.bytes = changed;
            UsageAsked::Yes
        }
        None => UsageAsked::No,
    }
}

/// The body as the backend gets it, and what attends to the client meanwhile; `question` reads a body that
/// goes on as it comes. Messages of gRPC may be `messages_idle` apart.
pub(super) async fn send_on(
    pipeline: &RoutePipeline,
    kind: Kind,
    body: Inbound,
    question: Option<Box<BudgetedReader>>,
    session: &mut Session,
    messages_idle: Duration,
) -> Result<(RequestBody, Relay), Stop> {
    let behind = match kind {
        Kind::Upgrade => TrailingBytes::Forbidden,
        Kind::Plain | Kind::Grpc => TrailingBytes::Pipelined,
    };
    let now = clock::now();
    let bytes = match body {
        Inbound::Buffered(body) => body.bytes,
        Inbound::PassedThrough if session.is_body_empty() => Bytes::new(),
        Inbound::PassedThrough => {
            if session.expects_continue() && session.write_continue().await.is_err() {
                return Err(Stop::ClientLeft);
            }
            let (pieces, body) = RequestBody::relayed(session.announced_bytes());
            let bounds = bounds(pipeline, kind, messages_idle);
            return Ok((body, Relay::open(pieces, bounds, behind, question, now)));
        }
    };
    Ok((RequestBody::whole(bytes), Relay::whole(behind, now)))
}

/// A delivery of a platform goes on without its client once its backend has been sent all of it.
pub(super) fn on_errand(
    delivery: Option<&Delivery>,
    body: RequestBody,
    session: &mut Session,
    connection: &Connection,
) -> RequestBody {
    if delivery.is_none() {
        return body;
    }
    let (tell, sent) = oneshot::channel();
    session.detach_when_sent(sent, connection);
    body.telling(tell)
}

fn bounds(pipeline: &RoutePipeline, kind: Kind, messages_idle: Duration) -> RelayLimits {
    let (pacing, backend_idle) = match kind {
        Kind::Grpc => (Pacing::Unpaced, messages_idle),
        Kind::Plain | Kind::Upgrade => {
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
