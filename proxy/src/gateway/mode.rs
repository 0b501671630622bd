//! The kind of an exchange with the backend, and whether its request body is buffered or passed through.

use http::{HeaderMap, header};

use crate::generation::pipeline::RoutePipeline;
use crate::http::session::Session;

/// A body up to this size is buffered even if no stage reads it: that is cheaper than passing it through.
const ALWAYS_BUFFERED_BYTES: u64 = 64 * 1024;

/// The kind of exchange that a request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// One request, one response.
    Plain,
    /// gRPC: messages in both directions over HTTP/2.
    Grpc,
    /// The client requests another protocol, such as WebSocket.
    Upgrade,
}

/// How the body of a request is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyMode {
    /// Read whole before anything is forwarded.
    Buffered,
    /// Forwarded piece by piece as it arrives.
    PassThrough,
}

impl RoutePipeline {
    /// The kind of exchange that a request begins. weir cannot read the protocol of an upgraded connection:
    /// if a stage has to read the body, only a request without one can be upgraded.
    pub(crate) fn kind(&self, session: &Session) -> RequestKind {
        if session.upgrade().is_some() && (!self.verifies_body() || has_no_body(session)) {
            return RequestKind::Upgrade;
        }
        let grpc = session.is_http2() && is_grpc(&session.head().headers);
        match grpc && !self.reads_body() {
            true => RequestKind::Grpc,
            false => RequestKind::Plain,
        }
    }

    /// A body is passed through if no stage of this pipeline reads it, unless it is small enough for
    /// buffering to be cheaper.
    pub(crate) fn body_mode(&self, kind: RequestKind, session: &Session) -> BodyMode {
        match kind {
            RequestKind::Grpc | RequestKind::Upgrade => BodyMode::PassThrough,
            RequestKind::Plain if !self.reads_body() && is_large(session) => BodyMode::PassThrough,
            RequestKind::Plain => BodyMode::Buffered,
        }
    }
}

/// Whether the head announces no body: bytes after it belong to the upgraded protocol.
fn has_no_body(session: &Session) -> bool {
    session.announced_bytes().unwrap_or(0) == 0 && !session.has_open_body()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn is_large(session: &Session) -> bool {
    match session.announced_bytes() {
        Some(bytes) => bytes > ALWAYS_BUFFERED_BYTES,
        None => session.has_open_body(),
    }
}
