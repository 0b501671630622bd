//! Why a backend gave no response, or none to its end.

use std::io;

use h2::Reason;
use rustix::io::Errno;
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

impl Failure {
    /// No connection was open in time.
    pub(super) fn connect_timeout() -> Self {
        let message = "connect_timeout exceeded";
        Failure::Connect(io::Error::new(io::ErrorKind::TimedOut, message))
    }
}

/// What went wrong on an open connection.
#[derive(Debug, Error)]
pub enum ConnectionError {
    #[error("the connection was closed before the response was complete")]
    Closed,
    /// The endpoint states that it has not processed the request: it may be sent again, whatever its method (RFC 9113,
    /// section 8.7).
    #[error("the connection was closed before the request was processed")]
    Unprocessed,
    #[error(transparent)]
    Io(io::Error),
    /// What the backend sent is not HTTP.
    #[error("{0}")]
    Malformed(&'static str),
    /// The client did not send its whole body.
    #[error(transparent)]
    RequestBody(TruncatedBody),
    #[error(transparent)]
    Http2(h2::Error),
}

impl ConnectionError {
    /// What an error of a stream states about its request: the endpoint refused the stream, or closed the connection
    /// (GOAWAY) and lists the stream as not processed.
    pub(super) fn of_http2(error: h2::Error) -> Self {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if error.is_remote() && (is_refused || error.is_go_away()) {
            return ConnectionError::Unprocessed;
        }
        match error.is_io() {
            true => error
                .into_io()
                .map_or(ConnectionError::Closed, |error| match error.kind() {
                    io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                        ConnectionError::Closed
                    }
                    _ => ConnectionError::Io(error),
                }),
            false => ConnectionError::Http2(error),
        }
    }
}

/// Whether this machine cannot open a connection, to whatever endpoint: it has no file descriptor, port or memory left.
pub(super) fn is_local(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::QuotaExceeded
        || matches!(
            number,
            Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM)
        )
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
    /// It had been used before, and ended before any byte of the response, or the endpoint had not processed the request:
    /// most likely it closed the connection before it saw the request, which proves nothing of it.
    Stale,
    Other,
}

impl UnansweredRequest {
    pub(super) fn other(failure: impl Into<Failure>) -> Self {
        UnansweredRequest {
            failure: failure.into(),
            unsent: None,
            connection: BrokenConnection::Other,
        }
    }

    pub(super) fn over(connection: BrokenConnection, failure: Failure) -> Self {
        UnansweredRequest {
            connection,
            ..UnansweredRequest::other(failure)
        }
    }

    /// What it proves of the endpoint, unless its connection was stale and is replaced.
    #[must_use]
    pub fn proves(&self) -> EndpointOutcome {
        match &self.failure {
            // The client did not send its whole body.
            Failure::Connection(ConnectionError::RequestBody(_)) => EndpointOutcome::Abandoned,
            Failure::Connect(error) if is_local(error) => EndpointOutcome::Abandoned,
            _ => EndpointOutcome::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_no_failure_of_the_endpoint() {
        let proves = |error| UnansweredRequest::other(Failure::Connect(error)).proves();
        for number in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL] {
            assert_eq!(proves(number.into()), EndpointOutcome::Abandoned);
        }
        let reserved = io::ErrorKind::QuotaExceeded;
        assert_eq!(proves(reserved.into()), EndpointOutcome::Abandoned);
        for number in [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT] {
            assert_eq!(proves(number.into()), EndpointOutcome::Failure);
        }
    }
}
