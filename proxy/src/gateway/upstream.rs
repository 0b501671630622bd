//! The backend stage on a real request.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header};

use super::Stop;
use super::inbound::UsageAsked;
use super::pipeline::RoutePipeline;
use crate::answer::framing::{self, Framing, Upgrade};
use crate::answer::head;
use crate::answer::waits::Waits;
use crate::backend::Endpoint;
use crate::backend::client::{Answer, Wait};
use crate::backend::connector::Protocol;
use crate::backend::early::Early;
use crate::backend::outgoing::{self, Encodings, Said};
use crate::backend::request_body::RequestBody;
use crate::clock;
use crate::exchange::{Attempt, Exchange, UpstreamNote};
use crate::http::Connection;
use crate::http::relay::{Relay, RelayOutcome};
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};
use crate::route::address;

/// A deadline that never comes.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is asked of the backend, beside the head of the request.
pub(super) struct Asking<'a> {
    pub(super) connection: &'a Connection,
    pub(super) kind: Kind,
    pub(super) asked_at: Instant,
    pub(super) usage: UsageAsked,
}

impl Asking<'_> {
    /// How long the answer, whose head has come, is waited for; messages of gRPC may be `messages_idle` apart.
    pub(super) fn waits(
        &self,
        pipeline: &RoutePipeline,
        messages_idle: Duration,
        now: Instant,
    ) -> Waits {
        let config = pipeline.backend.config();
        let (idle_timeout, total_timeout) = match self.kind {
            Kind::Grpc => (messages_idle, None),
            Kind::Plain | Kind::Upgrade => (config.idle_timeout, Some(config.total_timeout)),
        };
        Waits {
            asked_at: self.asked_at,
            answered_at: now,
            idle_timeout,
            total_timeout,
        }
    }
}

/// What kind of exchange it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One request, one answer.
    Plain,
    /// Messages in both directions over HTTP/2.
    Grpc,
    /// The client wants to speak another protocol.
    Upgrade,
}

/// Asks the backend, and attends to the client meanwhile. The answer can be passed on as it stands.
pub(super) async fn ask(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    asking: &Asking<'_>,
    body: RequestBody,
    relay: &mut Relay,
) -> Result<(Answer, Framing), Stop> {
    exchange.upstream = Some(UpstreamNote::begin(pipeline.backend.config().name.clone()));
    let asked = match ask_endpoint(pipeline, session, exchange, asking, body, relay).await {
        Ok(answer) => usable(pipeline, exchange, asking.kind, answer).await,
        Err(stop) => Err(stop),
    };
    if let (Err(Stop::Refused(refusal)), Some(attempt)) = (&asked, exchange.attempt()) {
        attempt.fail(refusal.code);
        attempt.end(clock::now());
    }
    if let Ok((answer, _)) = &asked
        && answer.head.status.is_server_error()
    {
        exchange.error_code = Some(ErrorCode::UpstreamStatus);
    }
    asked
}

/// The answer with its framing, if it can be passed on.
async fn usable(
    pipeline: &RoutePipeline,
    exchange: &Exchange,
    kind: Kind,
    mut answer: Answer,
) -> Result<(Answer, Framing), Stop> {
    let upgrade = match kind {
        Kind::Upgrade => Upgrade::Asked,
        Kind::Plain | Kind::Grpc => Upgrade::NotAsked,
    };
    let judged = framing::judge(
        &exchange.method,
        upgrade,
        &answer.head,
        answer.body.length(),
    );
    let framing = judged.map_err(|flaw| pipeline.backend.unusable(flaw))?;
    if framing.connection == framing::Connection::Suspect {
        answer.body.close_connection_at_end();
    }
    if answer.head.status != StatusCode::SWITCHING_PROTOCOLS
        && let Err(error) = answer.body.check_first().await
    {
        log::debug!("backend {}: {error}", pipeline.backend.config().name);
        return Err(pipeline
            .backend
            .unusable("its body does not begin as it says")
            .into());
    }
    Ok((answer, framing))
}

/// One attempt, noted in the exchange, whatever becomes of it.
async fn ask_endpoint(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    asking: &Asking<'_>,
    body: RequestBody,
    relay: &mut Relay,
) -> Result<Answer, Stop> {
    let picked = pipeline.backend.pick()?;
    let endpoint = picked.endpoint.text.clone();
    let attempt = Attempt::begin(endpoint, &exchange.trace, asking.asked_at);
    let parent = attempt.span_id.unwrap_or(exchange.trace.span_id);
    let request = request(
        pipeline,
        session,
        exchange,
        asking,
        picked.endpoint,
        parent,
        body,
    )?;
    let version = exchange.version;
    let attempt = exchange.begin_attempt(&pipeline.backend.config().name, attempt);
    let early = Early::default();
    // Clients of other versions have no room for it, or nobody to write it.
    let early = (version == Version::HTTP_11).then_some(&early);
    let protocol = protocol(asking.kind);
    let backend = &pipeline.backend;
    let first_byte = backend.first_byte_timeout();
    let wait = Wait {
        asked: asking.asked_at,
        // While the body is on its way, its own bounds hold.
        deadline: asking.asked_at
            + match relay.is_unfinished() || asking.kind == Kind::Grpc {
                true => FAR,
                false => first_byte,
            },
    };
    let mut answer = pin!(backend.ask(picked, request, protocol, wait, early, attempt));
    loop {
        let sent_at = relay.sent_at().filter(|_| asking.kind != Kind::Grpc);
        let late = until(sent_at.map(|sent_at| sent_at + first_byte));
        tokio::select! {
            biased;
            answer = &mut answer => {
                // What came in one packet with the answer comes before it.
                pass_on(session, early).await?;
                return Ok(answer?);
            }
            attended = relay.attend(session) => match attended {
                RelayOutcome::BodySent => {}
                RelayOutcome::ClientLeft => return Err(Stop::ClientLeft),
                RelayOutcome::Refused(refusal) => return Err(refusal.into()),
            },
            () = come(early) => pass_on(session, early).await?,
            () = late => return Err(backend.no_first_byte().into()),
        }
    }
}

/// The head that goes to this endpoint.
fn request(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
    asking: &Asking<'_>,
    endpoint: &Endpoint,
    parent: [u8; 8],
    body: RequestBody,
) -> Result<Request<RequestBody>, Refusal> {
    let head = session.head();
    let (withheld, _) = pipeline.settled_headers(exchange);
    let is_read = exchange.model.operation.is_some() || exchange.content.is_some();
    let encodings = match is_read {
        _ if pipeline.answers.is_some() || asking.usage == UsageAsked::Yes => Encodings::Identity,
        true => Encodings::Readable,
        false => Encodings::Any,
    };
    let config = pipeline.backend.config();
    let mut headers = outgoing::carried_over(&head.headers, withheld, encodings, config);
    if session.is_http2() {
        outgoing::join_cookies(&mut headers);
    }
    if asking.kind == Kind::Upgrade
        && let Some(protocol) = session.upgrade()
    {
        outgoing::ask_for_upgrade(&mut headers, protocol.clone());
    }
    let forwarded_for = forwarded_for(asking.connection, &head.headers, pipeline);
    let host = head.headers.get(header::HOST);
    let said = Said {
        parent,
        ..said(exchange, asking.connection, &forwarded_for, host)
    };
    let target = target(exchange, head.uri.query());
    let to = (&**config, endpoint, protocol(asking.kind));
    outgoing::request(head.method.clone(), &target, headers, &said, to, body)
}

fn protocol(kind: Kind) -> Protocol {
    match kind {
        Kind::Grpc => Protocol::Http2,
        Kind::Plain | Kind::Upgrade => Protocol::Http1,
    }
}

/// Ends when the backend has said something before its answer. Whoever drives the connection does so in the
/// same task right before: nobody has to be woken.
async fn come(early: Option<&Early>) {
    poll_fn(|_| match early {
        Some(early) if !early.is_empty() => Poll::Ready(()),
        _ => Poll::Pending,
    })
    .await;
}

/// Passes on what the backend has said before its answer.
async fn pass_on(session: &mut Session, early: Option<&Early>) -> Result<(), Stop> {
    let come = early.map(Early::take);
    for (status, fields) in come.into_iter().flatten() {
        let head = head::of_informational(status, &fields);
        let written = session.write_informational(&head).await;
        written.map_err(|_| Stop::ClientLeft)?;
    }
    Ok(())
}

/// Ends at the deadline, if there is one.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The canonical path and the query as it came: weir and the backend cannot disagree on a path.
pub(super) fn target(exchange: &Exchange, query: Option<&str>) -> String {
    let mut target = String::with_capacity(exchange.path.len() + 1 + query.map_or(0, str::len));
    target.push_str(&exchange.path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// The chain of addresses as weir believes it.
pub(super) fn forwarded_for(
    connection: &Connection,
    headers: &HeaderMap,
    pipeline: &RoutePipeline,
) -> HeaderValue {
    address::forwarded_for(connection.peer, headers, &pipeline.trusted_proxies)
        .unwrap_or_else(|| connection.peer_text.clone())
}

/// What weir says of the request to the backend.
pub(super) fn said<'a>(
    exchange: &'a Exchange,
    connection: &Connection,
    forwarded_for: &'a HeaderValue,
    host: Option<&'a HeaderValue>,
) -> Said<'a> {
    Said {
        request_id: exchange.id.as_str(),
        forwarded_for,
        scheme: connection.scheme,
        host: host.or(exchange.authority.as_ref()),
        cdn_loop: exchange.cdn_loop.as_ref(),
        platform: &exchange.platform,
        client: exchange.client_key.as_deref(),
        trace: &exchange.trace,
        parent: exchange.trace.span_id,
    }
}
