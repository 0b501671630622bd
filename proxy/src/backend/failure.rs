//! Why a backend gave no response, or none to its end.

use std::io;

use thiserror::Error;

use super::request_body::TruncatedBody;

/// Why there is no response.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("no connection could be opened: {0}")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("no response arrived before the deadline")]
    TimedOut,
}

/// What went wrong on an open connection.
#[derive(Debug, Error)]
pub enum ConnectionError {
    #[error("the connection was closed before the response was complete")]
    Closed,
    #[error(transparent)]
    Io(io::Error),
    /// What the backend sent is not HTTP.
    #[error("{0}")]
    Malformed(&'static str),
    /// The client did not send its whole body.
    #[error(transparent)]
    RequestBody(TruncatedBody),
    #[error(transparent)]
    Http2(hyper::Error),
}
