//! Why a backend gave no response, or none to its end.

use std::io;

use thiserror::Error;

use super::breaker::EndpointOutcome;
use super::request_body::{RequestBody, TruncatedBody};

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

/// A request that got no response.
#[derive(Debug)]
pub struct UnansweredRequest {
    pub failure: Failure,
    /// The body, if nothing of the request was written.
    pub unsent: Option<RequestBody>,
    pub connection: BrokenConnection,
}

/// The connection of a request that got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenConnection {
    /// It had been idle, and ended before any byte of the response: the endpoint may have closed it before it saw the
    /// request.
    Stale,
    Other,
}

impl UnansweredRequest {
    pub(super) fn other(failure: Failure) -> Self {
        UnansweredRequest {
            failure,
            unsent: None,
            connection: BrokenConnection::Other,
        }
    }

    /// What it proves of the endpoint, unless its connection was stale.
    pub(super) fn proves(&self) -> EndpointOutcome {
        match &self.failure {
            // The client did not send its whole body.
            Failure::Connection(ConnectionError::RequestBody(_)) => EndpointOutcome::Abandoned,
            _ => EndpointOutcome::Failure,
        }
    }
}
