//! The response of a backend: its head, and its body as it arrives over HTTP/1.1 (`http1.rs`) or HTTP/2
//! (`http2.rs`). It knows no other stage.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;

use super::failure::ConnectionError;
use super::http1::Http1Connection;
use super::http2::Http2Stream;
use super::pool::{Pool, PoolKey};
use super::wire::Wire;
use crate::clock::{self, Elapsed};
use crate::http::response_body::{NextPiece, Piece, PiecesAhead, ResponseBody};
use crate::refusal::ErrorCode;

/// A response whose head has arrived. It is boxed, since it passes through many hands before it is delivered.
pub struct UpstreamResponse {
    pub head: http::response::Parts,
    pub body: UpstreamBody,
    /// How long connecting took; `None` on a pooled connection.
    pub connect: Option<Duration>,
}

/// The body of a response. At its end the connection returns to its pool; dropped before, it is closed.
pub struct UpstreamBody {
    source: BodySource,
    /// What was read ahead and put back, the next piece last.
    ahead: PiecesAhead<ConnectionError>,
    /// As the head announces it.
    length: Option<u64>,
    /// Where the connection returns to, if it is one of HTTP/1.1.
    pool_key: Option<PoolKey>,
}

/// Where the rest of a body comes from.
enum BodySource {
    /// A connection of its own.
    Http1(Box<Http1Connection>),
    /// A stream of a connection with other streams.
    Http2(Box<Http2Stream>),
    Nothing,
}

/// A connection after a 101: bytes in both directions that are no longer HTTP.
pub struct Tunnel {
    pub stream: Wire,
    /// What the endpoint sent directly after its head.
    pub arrived: Bytes,
}

impl UpstreamResponse {
    pub(super) fn over_http1(
        head: http::response::Parts,
        connection: Box<Http1Connection>,
        pool_key: PoolKey,
        connect: Option<Duration>,
    ) -> Box<Self> {
        let body = UpstreamBody {
            length: connection.length(),
            source: BodySource::Http1(connection),
            ahead: PiecesAhead::new(),
            pool_key: Some(pool_key),
        };
        Box::new(UpstreamResponse {
            head,
            body,
            connect,
        })
    }

    pub(super) fn over_http2(
        head: http::response::Parts,
        stream: Box<Http2Stream>,
        connect: Option<Duration>,
    ) -> Box<Self> {
        let body = UpstreamBody {
            length: stream.length(),
            source: BodySource::Http2(stream),
            ahead: PiecesAhead::new(),
            pool_key: None,
        };
        Box::new(UpstreamResponse {
            head,
            body,
            connect,
        })
    }

    /// The connection of an endpoint that has switched protocols; `None` if it cannot be taken over.
    pub async fn take_tunnel(&mut self) -> Option<Tunnel> {
        let BodySource::Http1(connection) = self.body.take_source() else {
            return None;
        };
        if self.head.status != StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let (stream, arrived) = connection.into_wire().await?;
        Some(Tunnel { stream, arrived })
    }
}

impl UpstreamBody {
    fn is_complete(&self) -> bool {
        match &self.source {
            BodySource::Http1(connection) => connection.is_at_end(),
            BodySource::Http2(stream) => stream.is_at_end(),
            BodySource::Nothing => true,
        }
    }

    /// The length of the body as the head announces it; `None` if it does not.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Checks what arrived with the head, which is read again later.
    ///
    /// # Errors
    /// What followed the head is not the body that it announces.
    pub async fn check_first(&mut self) -> Result<(), ConnectionError> {
        if self.is_complete() {
            return Ok(());
        }
        match self.arrived().await {
            Some(Some(Err(error))) => Err(error),
            first => {
                self.ahead.extend(first);
                Ok(())
            }
        }
    }

    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, ConnectionError>>> {
        if let Some(piece) = self.ahead.pop() {
            return Poll::Ready(piece);
        }
        let piece = match &mut self.source {
            BodySource::Http1(connection) => ready!(connection.poll_piece(context)),
            BodySource::Http2(stream) => ready!(stream.poll_piece(context)),
            BodySource::Nothing => None,
        };
        if piece.is_none() {
            self.give_back(clock::now());
        }
        Poll::Ready(piece)
    }

    fn give_back(&mut self, now: Instant) {
        if let BodySource::Http1(mut connection) = self.take_source()
            && let Some(pool_key) = self.pool_key
            && connection.is_reusable()
        {
            connection.become_idle(now);
            Pool::give_back(pool_key, connection);
        }
    }

    fn take_source(&mut self) -> BodySource {
        std::mem::replace(&mut self.source, BodySource::Nothing)
    }
}

impl ResponseBody for UpstreamBody {
    type Error = ConnectionError;

    fn error_code(_: &ConnectionError) -> ErrorCode {
        ErrorCode::UpstreamReset
    }

    fn is_at_end(&mut self, now: Instant) -> bool {
        let at_end = self.ahead.is_empty() && self.is_complete();
        if at_end {
            self.give_back(now);
        }
        at_end
    }

    fn close_connection_at_end(&mut self) {
        if let BodySource::Http1(connection) = &mut self.source {
            connection.close_at_end();
        }
    }

    async fn arrived(&mut self) -> Option<NextPiece<ConnectionError>> {
        poll_fn(|context| match self.poll_piece(context) {
            Poll::Ready(piece) => Poll::Ready(Some(piece)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    async fn next(&mut self, deadline: Instant) -> Result<NextPiece<ConnectionError>, Elapsed> {
        poll_fn(|context| match self.poll_piece(context) {
            Poll::Ready(piece) => Poll::Ready(Ok(piece)),
            Poll::Pending => {
                let late = match &mut self.source {
                    BodySource::Http1(connection) => connection.poll_end(deadline, context),
                    BodySource::Http2(stream) => stream.poll_end(deadline, context),
                    BodySource::Nothing => Poll::Pending,
                };
                late.map(|()| Err(Elapsed))
            }
        })
        .await
    }

    fn put_back(&mut self, pieces: PiecesAhead<ConnectionError>) {
        self.ahead.extend(pieces);
    }
}
