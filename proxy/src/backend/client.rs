//! One exchange with an endpoint: over HTTP/1.1 on weir's own connections (`http1.rs`), over HTTP/2 on hyper's
//! (`http2.rs`). The task that waits for a response drives its connection.

use std::time::Instant;

use http::Request;

use super::Config;
use super::connector::{Connect, UpstreamProtocol};
use super::failure::{BrokenConnection, ConnectionError, Failure, UnansweredRequest};
use super::http1::Http1Connection;
use super::http2;
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

/// Sends a request, and waits for the head of the response. Informational responses that arrive before it over
/// HTTP/1.1 go to `informational`.
///
/// # Errors
/// See [`UnansweredRequest`].
pub(super) async fn send(
    (pool_key, config): (PoolKey, &Config),
    connect: &Connect,
    (request, protocol): (Request<RequestBody>, UpstreamProtocol),
    call: CallDeadline,
    informational: Option<&InformationalResponses>,
) -> Result<UpstreamResponse, UnansweredRequest> {
    match protocol {
        UpstreamProtocol::Http1 => {
            over_http1(pool_key, config, connect, request, call, informational).await
        }
        // Boxed, so that the rare case does not enlarge the future of every exchange.
        UpstreamProtocol::Http2 => {
            let sent = Box::pin(http2::send(
                pool_key,
                config,
                connect,
                request,
                call.deadline,
            ));
            let (response, slot, took) = sent.await?;
            Ok(UpstreamResponse::over_http2(response, slot, pool_key, took))
        }
    }
}

/// Over a pooled or a new connection. A request of which nothing was written because a pooled connection had been
/// closed is sent over another one (RFC 9112, section 9.3.1), even if it is not idempotent.
async fn over_http1(
    pool_key: PoolKey,
    config: &Config,
    connect: &Connect,
    request: Request<RequestBody>,
    call: CallDeadline,
    informational: Option<&InformationalResponses>,
) -> Result<UpstreamResponse, UnansweredRequest> {
    let (head, mut body) = request.into_parts();
    while call.connections == UsableConnections::PooledOrNew
        && let Some(mut connection) = Pool::take(pool_key, config, call.started_at)
    {
        if !connection.is_usable().await {
            continue;
        }
        connection.begin(&head, body);
        match connection.response_head(call.deadline, informational).await {
            Ok(head) => {
                return Ok(UpstreamResponse::over_http1(
                    head, connection, pool_key, None,
                ));
            }
            Err(Failure::Connection(
                error @ (ConnectionError::Closed | ConnectionError::Io(_)),
            )) => match connection.take_unsent() {
                Some(unsent) => body = unsent,
                None => {
                    return Err(UnansweredRequest {
                        failure: error.into(),
                        unsent: None,
                        connection: match connection.has_received() {
                            true => BrokenConnection::Other,
                            false => BrokenConnection::Stale,
                        },
                    });
                }
            },
            Err(failure) => return Err(UnansweredRequest::other(failure)),
        }
    }
    let started_at = clock::now();
    let left = call.deadline.saturating_duration_since(started_at);
    let timeout = config.connect_timeout.min(left);
    let mut connection = match Http1Connection::open(connect, &head.uri, timeout).await {
        Ok(connection) => connection,
        Err(error) => {
            return Err(UnansweredRequest {
                failure: Failure::Connect(error),
                unsent: Some(body),
                connection: BrokenConnection::Other,
            });
        }
    };
    let took = clock::now().saturating_duration_since(started_at);
    connection.begin(&head, body);
    drop(head);
    let head = connection
        .response_head(call.deadline, informational)
        .await
        .map_err(UnansweredRequest::other)?;
    Ok(UpstreamResponse::over_http1(
        head,
        connection,
        pool_key,
        Some(took),
    ))
}
