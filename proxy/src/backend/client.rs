//! One exchange with an endpoint, over a connection of the worker's pool or a new one: HTTP/1.1 (`http1.rs`) or
//! HTTP/2 (`http2.rs`), as the endpoint's address implies or TLS negotiates. The task that waits for a response
//! drives its exchange.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use http::request::Parts;
use tokio::sync::OwnedMutexGuard;

use super::Config;
use super::connector::{Connector, Negotiated, Offer, UpstreamProtocol};
use super::failure::{BrokenConnection, ConnectionError, Failure, UnansweredRequest};
use super::http1::Http1Connection;
use super::http2::{Http2Connection, Http2Stream, StreamSlot};
use super::informational::InformationalResponses;
use super::pool::{Pool, PoolKey};
use super::request_body::RequestBody;
use super::response::UpstreamResponse;
use crate::clock;

/// When a call began, until when its response may arrive, and over which connections.
#[derive(Clone, Copy, Debug)]
pub struct CallDeadline {
    pub started_at: Instant,
    pub deadline: Instant,
    pub connections: UsableConnections,
}

/// The connections that a call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsableConnections {
    PooledOrNew,
    /// A new one: a pooled one has just failed.
    New,
}

/// The endpoint that a request is sent to.
#[derive(Clone, Copy)]
pub(super) struct CallTarget<'a> {
    pub(super) pool_key: PoolKey,
    pub(super) connector: &'a Connector,
    pub(super) config: &'a Config,
}

/// A request, and what applies to all attempts to send it.
struct Outgoing<'a> {
    head: Parts,
    body: RequestBody,
    call: CallDeadline,
    informational: Option<&'a InformationalResponses>,
}

/// A connection that a request needs.
struct Opening {
    /// Since when the request waits for it.
    started_at: Instant,
    /// Held until other requests can share it.
    guard: Option<OwnedMutexGuard<()>>,
}

/// Sends a request, and waits for the head of the response. Informational responses that arrive before it go to
/// `informational`.
///
/// # Errors
/// See [`UnansweredRequest`].
pub(super) async fn send(
    to: CallTarget<'_>,
    (request, protocol): (Request<RequestBody>, UpstreamProtocol),
    call: CallDeadline,
    informational: Option<&InformationalResponses>,
) -> Result<Box<UpstreamResponse>, UnansweredRequest> {
    to.connector.note_use();
    let offer = to.connector.offer(protocol);
    let (head, body) = request.into_parts();
    let outgoing = Outgoing {
        head,
        body,
        call,
        informational,
    };
    let expects_http2 = match offer {
        Offer::Http1 => false,
        Offer::Http2 => true,
        Offer::Either => Pool::expects_http2(to.pool_key),
    };
    // Boxed, so that the rare cases do not enlarge the future of every exchange.
    match expects_http2 {
        true => Box::pin(over_http2(to, outgoing, offer)).await,
        false => over_http1(to, outgoing, offer).await,
    }
}

/// Over a pooled or a new connection. A request of which nothing was written because a pooled connection had been
/// closed is sent over another one (RFC 9112, section 9.3.1), even if it is not idempotent.
async fn over_http1(
    to: CallTarget<'_>,
    mut outgoing: Outgoing<'_>,
    offer: Offer,
) -> Result<Box<UpstreamResponse>, UnansweredRequest> {
    let call = outgoing.call;
    while call.connections == UsableConnections::PooledOrNew
        && let Some(mut connection) = Pool::take(to.pool_key, to.config, call.started_at)
    {
        if !connection.is_usable().await {
            continue;
        }
        connection.begin(&outgoing.head, outgoing.body);
        let head = connection.response_head(call.deadline, outgoing.informational);
        match head.await {
            Ok(head) => {
                return Ok(UpstreamResponse::over_http1(
                    head,
                    connection,
                    to.pool_key,
                    None,
                ));
            }
            Err(Failure::Connection(
                error @ (ConnectionError::Closed | ConnectionError::Io(_)),
            )) => match connection.take_unsent() {
                Some(unsent) => outgoing.body = unsent,
                None => {
                    let broken = match connection.has_received() {
                        true => BrokenConnection::Other,
                        false => BrokenConnection::Stale,
                    };
                    return Err(UnansweredRequest::over(broken, error.into()));
                }
            },
            Err(failure) => return Err(UnansweredRequest::other(failure)),
        }
    }
    let opening = Opening {
        started_at: clock::now(),
        guard: None,
    };
    let (opened, took) = match Box::pin(open(to, offer, call.deadline, opening)).await {
        Ok(opened) => opened,
        Err(failure) => return Err(outgoing.unsent(failure)),
    };
    let mut connection = match opened {
        OpenedConnection::Http1(connection) => connection,
        OpenedConnection::Http2(sender, slot) => {
            return Box::pin(over_stream((sender, slot), outgoing, Some(took))).await;
        }
    };
    connection.begin(&outgoing.head, outgoing.body);
    drop(outgoing.head);
    let head = connection.response_head(call.deadline, outgoing.informational);
    let head = head.await.map_err(UnansweredRequest::other)?;
    Ok(UpstreamResponse::over_http1(
        head,
        connection,
        to.pool_key,
        Some(took),
    ))
}

/// Over a stream of an open connection, or a new one. A request of which nothing was sent because the connection
/// had been closed is sent over another one. Requests that need a connection at the same time share a new one.
async fn over_http2(
    to: CallTarget<'_>,
    outgoing: Outgoing<'_>,
    offer: Offer,
) -> Result<Box<UpstreamResponse>, UnansweredRequest> {
    let mut opening = Opening {
        started_at: clock::now(),
        guard: None,
    };
    loop {
        while outgoing.call.connections == UsableConnections::PooledOrNew
            && let Some((sender, slot)) = Pool::take_stream(to.pool_key)
        {
            let ready = Http2Connection::ready(sender, &slot);
            match clock::timeout(left(outgoing.call.deadline), ready).await {
                Ok(Ok(sender)) => {
                    drop(opening);
                    return over_stream((sender, slot), outgoing, None).await;
                }
                // The next one.
                Ok(Err(_)) => {}
                Err(_) => return Err(UnansweredRequest::other(Failure::TimedOut)),
            }
        }
        if opening.guard.is_some() || outgoing.call.connections == UsableConnections::New {
            break;
        }
        let lock = Pool::opening(to.pool_key, to.config, opening.started_at);
        let timeout = to.config.connect_timeout.min(left(outgoing.call.deadline));
        let guard = clock::timeout(timeout, lock.lock_owned()).await;
        match guard {
            Ok(guard) => opening.guard = Some(guard),
            Err(_) => return Err(outgoing.unsent(Failure::connect_timeout())),
        }
    }
    let (opened, took) = match Box::pin(open(to, offer, outgoing.call.deadline, opening)).await {
        Ok(opened) => opened,
        Err(failure) => return Err(outgoing.unsent(failure)),
    };
    match opened {
        OpenedConnection::Http2(sender, slot) => {
            over_stream((sender, slot), outgoing, Some(took)).await
        }
        // The endpoint chooses otherwise than before.
        OpenedConnection::Http1(mut connection) => {
            let call = outgoing.call;
            connection.begin(&outgoing.head, outgoing.body);
            let head = connection.response_head(call.deadline, outgoing.informational);
            let head = head.await.map_err(UnansweredRequest::other)?;
            Ok(UpstreamResponse::over_http1(
                head,
                connection,
                to.pool_key,
                Some(took),
            ))
        }
    }
}

/// A new connection, ready for a request.
enum OpenedConnection {
    Http1(Box<Http1Connection>),
    Http2(SendRequest<Bytes>, StreamSlot),
}

/// Opens a connection, and shares it with other requests if it can be shared. Its future is boxed and ends before the
/// response is waited for: the state of a TLS handshake is large.
async fn open(
    to: CallTarget<'_>,
    offer: Offer,
    deadline: Instant,
    opening: Opening,
) -> Result<(OpenedConnection, Duration), Failure> {
    let end = deadline.min(opening.started_at + to.config.connect_timeout);
    let opened = to.connector.open(offer, left(end)).await;
    let (wire, negotiated) = opened.map_err(Failure::Connect)?;
    let now = clock::now();
    let took = now.saturating_duration_since(opening.started_at);
    if offer == Offer::Either {
        Pool::note_negotiated(to.pool_key, to.config, negotiated, now);
    }
    if negotiated == Negotiated::Http1 {
        return Ok((OpenedConnection::Http1(Http1Connection::new(wire)), took));
    }
    let begun = clock::timeout(left(end), Http2Connection::begin(wire, to.config)).await;
    let begun = begun.map_err(|_| Failure::connect_timeout())?;
    let connection = begun.map_err(Failure::Connect)?;
    let slot = connection.take_slot();
    Pool::add_http2(to.pool_key, to.config, connection, now);
    drop(opening);
    let refused = || Failure::Connect(io::Error::other("the endpoint accepts no stream"));
    let (sender, slot) = slot.ok_or_else(refused)?;
    let ready = clock::timeout(left(deadline), Http2Connection::ready(sender, &slot)).await;
    let sender = ready
        .map_err(|_| Failure::TimedOut)?
        .map_err(|_| refused())?;
    Ok((OpenedConnection::Http2(sender, slot), took))
}

/// Over a stream that has been reserved.
async fn over_stream(
    stream: (SendRequest<Bytes>, StreamSlot),
    outgoing: Outgoing<'_>,
    took: Option<Duration>,
) -> Result<Box<UpstreamResponse>, UnansweredRequest> {
    let (sender, slot) = stream;
    let is_reused = took.is_none();
    let begun = Http2Stream::begin(sender, slot, outgoing.head, outgoing.body);
    let mut stream = begun.map_err(|error| of_stream(error.into(), is_reused))?;
    let head = stream.response_head(outgoing.call.deadline, outgoing.informational);
    match head.await {
        Ok(head) => Ok(UpstreamResponse::over_http2(head, stream, took)),
        Err(failure) => Err(of_stream(failure, is_reused && !stream.has_received())),
    }
}

/// A stream without a response. Its connection may be stale if it was reused, and nothing of a response has arrived: another
/// request may have kept a connection open that the endpoint was about to close.
fn of_stream(failure: Failure, may_be_stale: bool) -> UnansweredRequest {
    let connection = match &failure {
        Failure::Connection(
            ConnectionError::Closed | ConnectionError::Io(_) | ConnectionError::Unprocessed,
        ) if may_be_stale => BrokenConnection::Stale,
        _ => BrokenConnection::Other,
    };
    UnansweredRequest::over(connection, failure)
}

impl Outgoing<'_> {
    /// Nothing of the request has been sent.
    fn unsent(self, failure: Failure) -> UnansweredRequest {
        UnansweredRequest {
            failure,
            unsent: Some(self.body),
            connection: BrokenConnection::Other,
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::now())
}
