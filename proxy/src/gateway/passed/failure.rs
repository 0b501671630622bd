//! What a client is told when pingora's proxying failed, and how its connection ends.

use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};

use crate::listener::refused::{LINGER, LINGER_BYTES};
use crate::refusal::{ErrorCode, Refusal};

/// Reads what the client still sends, for a while, so that its refusal is not lost to a reset.
pub(super) async fn read_on(session: &mut Session) {
    let reading = async {
        let mut read = 0;
        while let Ok(Some(piece)) = session.downstream_session.read_request_body().await {
            read += piece.len();
            if read > LINGER_BYTES {
                break;
            }
        }
    };
    // Whatever comes of it, the connection is closed afterwards.
    let _ = pingora::time::timeout(LINGER, reading).await;
}

pub(super) fn refusal_of(error: &Error) -> Refusal {
    use ErrorType as Kind;
    let (code, detail) = match (error.esource(), error.etype()) {
        (
            _,
            Kind::ConnectTimedout
            | Kind::ConnectRefused
            | Kind::ConnectNoRoute
            | Kind::ConnectError,
        )
        | (_, Kind::TLSHandshakeFailure | Kind::TLSHandshakeTimedout | Kind::InvalidCert) => {
            (ErrorCode::UpstreamConnect, "the backend cannot be reached")
        }
        (ErrorSource::Upstream, Kind::ReadTimedout | Kind::WriteTimedout) => {
            (ErrorCode::UpstreamTimeout, "the backend stood still")
        }
        (ErrorSource::Upstream, _) => (
            ErrorCode::UpstreamReset,
            "the backend closed the connection",
        ),
        (ErrorSource::Downstream, Kind::InvalidHTTPHeader) => {
            (ErrorCode::BadRequest, "the request is malformed")
        }
        (ErrorSource::Downstream, Kind::HTTPStatus(_)) => (ErrorCode::BadRequest, ""),
        (ErrorSource::Downstream, _) => (ErrorCode::ClientClosed, ""),
        _ => (ErrorCode::Internal, "see the log at level debug"),
    };
    Refusal::new(code, detail)
}
