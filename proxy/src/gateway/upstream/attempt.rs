//! One attempt with one endpoint, noted in the exchange whatever its outcome.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, StatusCode, Version};

use super::super::Stop;
use super::super::ask_usage::UsageRequested;
use super::super::mode::RequestKind;
use super::super::routing::forwarded_host;
use super::attempts::Attempts;
use super::{attend, hold};
use crate::answer::framing::{self, ResponseFraming, Upgrade};
use crate::answer::head;
use crate::backend::breaker::EndpointOutcome;
use crate::backend::client::CallDeadline;
use crate::backend::connector::UpstreamProtocol;
use crate::backend::endpoint::InFlightCall;
use crate::backend::failure::{BrokenConnection, ConnectionError, Failure, UnansweredRequest};
use crate::backend::informational::InformationalResponses;
use crate::backend::request_body::RequestBody;
use crate::backend::request_head::{self, AddedHeaders, Encodings};
use crate::backend::response::UpstreamResponse;
use crate::backend::retry::{AttemptFailure, Quota, Repeatable};
use crate::cache::http::Validators;
use crate::clock;
use crate::exchange::{Attempt, Exchange};
use crate::http::relay::Relay;
use crate::http::response_body::ResponseBody;
use crate::http::retry_after::retry_after;
use crate::http::session::Session;
use crate::refusal::Refusal;
use crate::route::address;

/// A deadline that never comes.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A response that can be forwarded.
pub(super) struct Received {
    pub(super) response: Box<UpstreamResponse>,
    pub(super) framing: ResponseFraming,
}

/// How an attempt ended.
pub(super) struct Attempted {
    /// `None` if it succeeded, as far as can be known now.
    pub(super) failure: Option<AttemptFailure>,
    pub(super) connection: BrokenConnection,
    /// What it proves of the endpoint, as far as that is known now.
    proves: Option<EndpointOutcome>,
    /// What the client gets if no other attempt follows.
    pub(super) result: Result<Received, Refusal>,
}

impl Attempted {
    fn failed(failure: AttemptFailure, refusal: Refusal) -> Self {
        Attempted {
            failure: Some(failure),
            connection: BrokenConnection::Other,
            proves: Some(EndpointOutcome::Failure),
            result: Err(refusal),
        }
    }
}

/// Makes one attempt, and attends to the client meanwhile.
///
/// # Errors
/// The client left, or its request must be rejected.
pub(super) async fn run(
    (attempts, picked, started_at): (&mut Attempts<'_>, &mut InFlightCall, Instant),
    session: &mut Session,
    exchange: &mut Exchange,
    relay: &mut Relay,
) -> Result<Attempted, Stop> {
    attempts.count += 1;
    if attempts.tried.last() != Some(&picked.position()) {
        attempts
            .tried
            .retain(|position| *position != picked.position());
        attempts.tried.push(picked.position());
    }
    let sent = send((attempts, picked, started_at), session, exchange, relay);
    let attempted = match sent.await? {
        Ok(response) => examine(attempts, session, exchange, relay, response).await?,
        Err(attempted) => attempted,
    };
    if let (Err(refusal), Some(attempt)) = (&attempted.result, exchange.attempt()) {
        attempt.fail(refusal.code);
        attempt.end(clock::now());
    }
    if let Some(outcome) = attempted.proves {
        picked.report(outcome, clock::now);
    }
    Ok(attempted)
}

/// Sends the request, and waits for the head of the response.
async fn send(
    (attempts, picked, started_at): (&mut Attempts<'_>, &mut InFlightCall, Instant),
    session: &mut Session,
    exchange: &mut Exchange,
    relay: &mut Relay,
) -> Result<Result<Box<UpstreamResponse>, Attempted>, Stop> {
    let (backend, call) = (attempts.backend, attempts.call);
    let name = backend.config().name.clone();
    let endpoint = picked.endpoint().config().text.clone();
    let attempt = Attempt::begin(name, endpoint, &exchange.trace, started_at);
    let parent = attempt.span_id.unwrap_or(exchange.trace.span_id);
    let request = request(attempts, picked, session, exchange, parent)?;
    let version = exchange.version;
    let attempt = exchange.begin_attempt(attempt);
    let arriving = InformationalResponses::default();
    // HTTP/1.0 has no informational responses, and pingora's HTTP/2 cannot write them.
    let arriving = (version == Version::HTTP_11).then_some(&arriving);
    let total = attempts.deadline(backend);
    let first_byte = backend.config().first_byte_timeout;
    let deadline = CallDeadline {
        started_at,
        // While the body is being sent, its own limits apply.
        deadline: match relay.is_unfinished() || call.kind == RequestKind::Grpc {
            true => started_at + FAR,
            false => total.min(started_at + first_byte),
        },
        connections: attempts.connections,
    };
    let silence_max = match call.kind {
        RequestKind::Grpc => attempts.pipeline.shared.upgrade_idle_timeout,
        RequestKind::Plain | RequestKind::Upgrade => backend.first_byte_timeout(),
    };
    let protocol = protocol(call.kind);
    let mut response = pin!(backend.send(picked, request, protocol, deadline, arriving, attempt));
    loop {
        let late = until(silent_since(call.kind, relay).map(|since| since + silence_max));
        tokio::select! {
            biased;
            response = &mut response => {
                // Informational responses that arrived in the same packet are written first.
                write_informational(session, arriving).await?;
                return Ok(response.map_err(|unanswered| {
                    let refusal = match unanswered.failure {
                        Failure::TimedOut if total < started_at + first_byte => {
                            backend.no_response_in_total()
                        }
                        ref failure => backend.refusal_of(failure),
                    };
                    of_unanswered(attempts, unanswered, refusal)
                }));
            }
            attended = relay.attend(session) => attend(attended)?,
            () = informational(arriving) => write_informational(session, arriving).await?,
            () = late => {
                let since = silent_since(call.kind, relay);
                // Messages of a gRPC stream may have passed meanwhile.
                if since.is_some_and(|since| since + silence_max <= clock::now()) {
                    let refusal = backend.no_response_within(silence_max);
                    return Ok(Err(Attempted::failed(AttemptFailure::Timeout, refusal)));
                }
            }
        }
    }
}

/// Since when the backend has to respond to a pass-through body: once it has had all of it, or the last message of a gRPC
/// stream.
fn silent_since(kind: RequestKind, relay: &Relay) -> Option<Instant> {
    match kind {
        RequestKind::Grpc => Some(relay.moved_at()),
        RequestKind::Plain | RequestKind::Upgrade => relay.sent_at(),
    }
}

fn of_unanswered(
    attempts: &mut Attempts<'_>,
    unanswered: UnansweredRequest,
    refusal: Refusal,
) -> Attempted {
    let failure = match unanswered.failure {
        Failure::Connect(_) | Failure::Connection(ConnectionError::Unprocessed) => {
            AttemptFailure::Connect
        }
        Failure::TimedOut => AttemptFailure::Timeout,
        Failure::Connection(ConnectionError::Malformed(_)) => AttemptFailure::Invalid,
        Failure::Connection(_) => AttemptFailure::Reset,
    };
    let is_stale = unanswered.connection == BrokenConnection::Stale;
    let proves = (!is_stale).then(|| unanswered.proves());
    attempts.outgoing.return_body(unanswered.unsent);
    Attempted {
        connection: unanswered.connection,
        proves,
        ..Attempted::failed(failure, refusal)
    }
}

/// Whether the response can be forwarded, and whether it is a failure that may be followed by another attempt.
async fn examine(
    attempts: &mut Attempts<'_>,
    session: &mut Session,
    exchange: &mut Exchange,
    relay: &mut Relay,
    mut response: Box<UpstreamResponse>,
) -> Result<Attempted, Stop> {
    let backend = attempts.backend;
    let framing = match check(attempts, exchange, &mut response).await {
        Ok(framing) => framing,
        Err(refusal) => return Ok(Attempted::failed(AttemptFailure::Invalid, refusal)),
    };
    let status = response.head.status.as_u16();
    let (mut failure, mut proves) = (None, None);
    if status >= 500 {
        proves = Some(EndpointOutcome::Failure);
    }
    if attempts.repeatable == Repeatable::Yes {
        let is_listed = backend.config().retry.on.statuses.contains(&status);
        if is_listed {
            let retry_after = retry_after(&response.head.headers, clock::unix_now());
            let quota = match status {
                429 if attempts.may_follow() => {
                    let until = attempts.deadline(backend);
                    hold::quota(session, relay, &mut response, until).await?
                }
                _ => Quota::Left,
            };
            // Below 500 the endpoint works, though this response may not be the one that is delivered.
            proves = proves.or(Some(EndpointOutcome::Success));
            failure = Some(AttemptFailure::Status {
                status,
                retry_after,
                quota,
            });
        } else if attempts.has_alternative()
            && let Some(held) = hold::held(exchange, &response.head)
        {
            let config = backend.config();
            let hold = config.retry.hold.min(config.idle_timeout);
            let until = attempts.deadline(backend).min(clock::now() + hold);
            let until_content = hold::until_content(session, relay, &mut response, held, until);
            if let Some(code) = until_content.await? {
                failure = Some(AttemptFailure::ErrorInBody);
                proves = Some(EndpointOutcome::Failure);
                if let Some(attempt) = exchange.attempt() {
                    attempt.fail(code);
                }
            }
        }
    }
    Ok(Attempted {
        failure,
        connection: BrokenConnection::Other,
        proves,
        result: Ok(Received { response, framing }),
    })
}

/// The framing of the response, if it can be forwarded.
async fn check(
    attempts: &Attempts<'_>,
    exchange: &Exchange,
    response: &mut UpstreamResponse,
) -> Result<ResponseFraming, Refusal> {
    let upgrade = match attempts.call.kind {
        RequestKind::Upgrade => Upgrade::Requested,
        RequestKind::Plain | RequestKind::Grpc => Upgrade::NotRequested,
    };
    let checked = framing::check(
        &exchange.method,
        upgrade,
        &response.head,
        response.body.length(),
    );
    let framing = checked.map_err(|flaw| attempts.backend.unusable(flaw))?;
    if framing.reuse == framing::Reuse::Never {
        response.body.close_connection_at_end();
    }
    if response.head.status != StatusCode::SWITCHING_PROTOCOLS
        && let Err(error) = response.body.check_first().await
    {
        log::debug!("backend {}: {error}", attempts.backend.config().name);
        return Err(attempts
            .backend
            .unusable("its body does not match its head"));
    }
    Ok(framing)
}

/// The request to this endpoint.
fn request(
    attempts: &mut Attempts<'_>,
    picked: &InFlightCall,
    session: &Session,
    exchange: &Exchange,
    parent: [u8; 8],
) -> Result<Request<RequestBody>, Refusal> {
    let (pipeline, call) = (attempts.pipeline, attempts.call);
    let head = session.head();
    let (stripped, _) = pipeline.signature_headers(exchange);
    let is_read = exchange.model.operation.is_some() || exchange.content.is_some();
    let usage = attempts.outgoing.usage();
    let encodings = match is_read {
        _ if pipeline.cache.is_some() || usage == UsageRequested::Yes => Encodings::Identity,
        true => Encodings::Readable,
        false => Encodings::Any,
    };
    let config = attempts.backend.config();
    let mut headers = request_head::forwarded_headers(&head.headers, stripped, encodings, config);
    if session.is_http2() {
        request_head::join_cookies(&mut headers);
    }
    if let Some(Validators {
        etag,
        last_modified,
        ..
    }) = call.validators
    {
        request_head::validate(&mut headers, etag.as_ref(), last_modified.as_ref());
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
    let target = attempts.outgoing.target(exchange, head.uri.query());
    let to = (&**config, picked.endpoint().config());
    let body = attempts.outgoing.take_body();
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
