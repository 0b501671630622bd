//! The backend stage of the gateway: calls a backend until the head of a response has arrived that can be
//! forwarded.
//!
//! Nothing but informational (1xx) responses has been written to the client by then, so an attempt that
//! fails here may be followed by another one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, StatusCode, Version};

use super::Stop;
use super::ask_usage::UsageRequested;
use super::mode::RequestKind;
use super::routing::forwarded_host;
use crate::answer::framing::{self, ResponseFraming, Upgrade};
use crate::answer::head;
use crate::backend::address::Endpoint;
use crate::backend::client::CallDeadline;
use crate::backend::connector::UpstreamProtocol;
use crate::backend::informational::InformationalResponses;
use crate::backend::request_body::RequestBody;
use crate::backend::request_head::{self, AddedHeaders, Encodings};
use crate::backend::response::UpstreamResponse;
use crate::cache::CacheDecision;
use crate::clock;
use crate::exchange::{Attempt, Exchange, UpstreamNote};
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::relay::{Relay, RelayOutcome};
use crate::http::response_body::ResponseBody;
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};
use crate::route::address;

/// A deadline that never comes.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A call to a backend, apart from the head and the body of its request.
pub(super) struct Call<'a> {
    pub(super) connection: &'a Connection,
    pub(super) kind: RequestKind,
    pub(super) started_at: Instant,
    pub(super) usage: UsageRequested,
}

/// A backend's response whose head has arrived, with everything that is needed to deliver it.
pub(super) struct Upstream {
    pub(super) pipeline: Arc<RoutePipeline>,
    pub(super) kind: RequestKind,
    pub(super) started_at: Instant,
    pub(super) usage: UsageRequested,
    /// Whether and how the response may be stored.
    pub(super) decision: CacheDecision,
    pub(super) response: UpstreamResponse,
    pub(super) framing: ResponseFraming,
    pub(super) relay: Relay,
}

/// Calls the backend, and attends to the client meanwhile. The response that it returns can be forwarded.
pub(super) async fn call(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    call: &Call<'_>,
    body: RequestBody,
    relay: &mut Relay,
) -> Result<(UpstreamResponse, ResponseFraming), Stop> {
    exchange.upstream = Some(UpstreamNote::begin(pipeline.backend.config().name.clone()));
    let result = match attempt(pipeline, session, exchange, call, body, relay).await {
        Ok(response) => check(pipeline, exchange, call.kind, response).await,
        Err(stop) => Err(stop),
    };
    if let (Err(Stop::Refused(refusal)), Some(attempt)) = (&result, exchange.attempt()) {
        attempt.fail(refusal.code);
        attempt.end(clock::now());
    }
    if let Ok((response, _)) = &result
        && response.head.status.is_server_error()
    {
        exchange.error_code = Some(ErrorCode::UpstreamStatus);
    }
    result
}

/// The response with its framing, if it can be forwarded.
async fn check(
    pipeline: &RoutePipeline,
    exchange: &Exchange,
    kind: RequestKind,
    mut response: UpstreamResponse,
) -> Result<(UpstreamResponse, ResponseFraming), Stop> {
    let upgrade = match kind {
        RequestKind::Upgrade => Upgrade::Requested,
        RequestKind::Plain | RequestKind::Grpc => Upgrade::NotRequested,
    };
    let checked = framing::check(
        &exchange.method,
        upgrade,
        &response.head,
        response.body.length(),
    );
    let framing = checked.map_err(|flaw| pipeline.backend.unusable(flaw))?;
    if framing.reuse == framing::Reuse::Never {
        response.body.close_connection_at_end();
    }
    if response.head.status != StatusCode::SWITCHING_PROTOCOLS
        && let Err(error) = response.body.check_first().await
    {
        log::debug!("backend {}: {error}", pipeline.backend.config().name);
        return Err(pipeline
            .backend
            .unusable("its body does not match its head")
            .into());
    }
    Ok((response, framing))
}

/// One attempt with one endpoint, noted in the exchange whatever its outcome.
async fn attempt(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    call: &Call<'_>,
    body: RequestBody,
    relay: &mut Relay,
) -> Result<UpstreamResponse, Stop> {
    let picked = pipeline.backend.pick()?;
    let endpoint = picked.endpoint.text.clone();
    let attempt = Attempt::begin(endpoint, &exchange.trace, call.started_at);
    let parent = attempt.span_id.unwrap_or(exchange.trace.span_id);
    let request = request(
        pipeline,
        session,
        exchange,
        call,
        picked.endpoint,
        parent,
        body,
    )?;
    let version = exchange.version;
    let attempt = exchange.begin_attempt(&pipeline.backend.config().name, attempt);
    let arriving = InformationalResponses::default();
    // HTTP/1.0 has no informational responses, and pingora's HTTP/2 cannot write them.
    let arriving = (version == Version::HTTP_11).then_some(&arriving);
    let protocol = protocol(call.kind);
    let backend = &pipeline.backend;
    let first_byte = backend.first_byte_timeout();
    let deadline = CallDeadline {
        started_at: call.started_at,
        // While the body is being sent, its own limits apply.
        deadline: call.started_at
            + match relay.is_unfinished() || call.kind == RequestKind::Grpc {
                true => FAR,
                false => first_byte,
            },
    };
    let mut response = pin!(backend.send(picked, request, protocol, deadline, arriving, attempt));
    loop {
        let sent_at = relay.sent_at().filter(|_| call.kind != RequestKind::Grpc);
        let late = until(sent_at.map(|sent_at| sent_at + first_byte));
        tokio::select! {
            biased;
            response = &mut response => {
                // Informational responses that arrived in the same packet are written first.
                write_informational(session, arriving).await?;
                return Ok(response?);
            }
            attended = relay.attend(session) => match attended {
                RelayOutcome::BodySent => {}
                RelayOutcome::ClientLeft => return Err(Stop::ClientLeft),
                RelayOutcome::Refused(refusal) => return Err(refusal.into()),
            },
            () = informational(arriving) => write_informational(session, arriving).await?,
            () = late => return Err(backend.no_first_byte().into()),
        }
    }
}

/// The request to this endpoint.
fn request(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
    call: &Call<'_>,
    endpoint: &Endpoint,
    parent: [u8; 8],
    body: RequestBody,
) -> Result<Request<RequestBody>, Refusal> {
    let head = session.head();
    let (stripped, _) = pipeline.signature_headers(exchange);
    let is_read = exchange.model.operation.is_some() || exchange.content.is_some();
    let encodings = match is_read {
        _ if pipeline.cache.is_some() || call.usage == UsageRequested::Yes => Encodings::Identity,
        true => Encodings::Readable,
        false => Encodings::Any,
    };
    let config = pipeline.backend.config();
    let mut headers = request_head::forwarded_headers(&head.headers, stripped, encodings, config);
    if session.is_http2() {
        request_head::join_cookies(&mut headers);
    }
    if call.kind == RequestKind::Upgrade
        && let Some(protocol) = session.upgrade()
    {
        request_head::request_upgrade(&mut headers, protocol.clone());
    }
    let forwarded_for = address::forwarded_for(
        call.connection.peer,
        &head.headers,
        &pipeline.shared.trusted_proxies,
    )
    .unwrap_or_else(|| call.connection.peer_text.clone());
    let added = AddedHeaders {
        request_id: exchange.id.as_str(),
        forwarded_for: &forwarded_for,
        scheme: call.connection.scheme,
        host: forwarded_host(head, exchange),
        cdn_loop: exchange.cdn_loop.as_ref(),
        platform: &exchange.platform,
        client: exchange.client_name.as_deref(),
        trace: &exchange.trace,
        parent,
    };
    let target = target(exchange, head.uri.query());
    let to = (&**config, endpoint);
    request_head::request(head.method.clone(), &target, headers, &added, to, body)
}

fn protocol(kind: RequestKind) -> UpstreamProtocol {
    match kind {
        RequestKind::Grpc => UpstreamProtocol::Http2,
        RequestKind::Upgrade => UpstreamProtocol::Http1,
        RequestKind::Plain => UpstreamProtocol::Any,
    }
}

/// Resolves when the backend has sent an informational response. No waker is needed: the same task polls the
/// backend's connection before it polls this.
async fn informational(arriving: Option<&InformationalResponses>) {
    poll_fn(|_| match arriving {
        Some(arriving) if !arriving.is_empty() => Poll::Ready(()),
        _ => Poll::Pending,
    })
    .await;
}

/// Forwards the informational responses that have arrived.
async fn write_informational(
    session: &mut Session,
    arriving: Option<&InformationalResponses>,
) -> Result<(), Stop> {
    let arrived = arriving.map(InformationalResponses::take);
    for (status, fields) in arrived.into_iter().flatten() {
        let head = head::of_informational(status, &fields);
        let written = session.write_informational(&head).await;
        written.map_err(|_| Stop::ClientLeft)?;
    }
    Ok(())
}

/// Resolves at the deadline, if there is one.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The canonical path, so that weir and the backend cannot disagree on it, and the query as it was received.
fn target(exchange: &Exchange, query: Option<&str>) -> String {
    let mut target = String::with_capacity(exchange.path.len() + 1 + query.map_or(0, str::len));
    target.push_str(&exchange.path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}
