//! How a request is carried: the kind of its exchange with the backend, and what becomes of its body.
//! [`RoutePipeline`](super::pipeline::RoutePipeline) decides both.

/// The kind of exchange that a request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// One request, one response.
    Plain,
    /// gRPC: messages in both directions over HTTP/2.
    Grpc,
    /// The client asks for another protocol, such as WebSocket.
    Upgrade,
}

/// What becomes of the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyMode {
    /// Read whole before anything is forwarded.
    Buffered,
    /// Forwarded piece by piece as it arrives.
    PassThrough,
}
