//! What a client is told when pingora's proxying failed, and how its connection ends.

use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};

use crate::listener::answer_head::AnswerHead;
use crate::listener::refused::{LINGER, LINGER_BYTES};
use crate::refusal::{ErrorCode, Refusal};

/// Writes a refusal. A client that does not take it is gone.
pub(super) async fn refuse(session: &mut ServerSession, answer: AnswerHead, body: Bytes) {
    if session
        .write_response_header(answer.into_pingora())
        .await
        .is_ok()
    {
        let _ = session.write_response_body(body, true).await;
    }
}

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

/// What an error of pingora's proxying means for the client. Whose it is comes first: pingora has
/// "connect error" also for a client that sends what it should not.
pub(super) fn refusal_of(error: &Error) -> Refusal {
    let (code, detail) = match error.esource() {
        ErrorSource::Downstream => of_client(error.etype()),
        ErrorSource::Upstream => of_backend(error.etype()),
        _ if is_connect(error.etype()) => of_backend(error.etype()),
        _ => (ErrorCode::Internal, "see the log at level debug"),
    };
    Refusal::new(code, detail)
}

fn of_client(kind: &ErrorType) -> (ErrorCode, &'static str) {
    match kind {
        // The client closed its side in the middle of its body.
        ErrorType::Custom("PrematureBodyEnd") => (ErrorCode::ClientClosed, ""),
        ErrorType::InvalidHTTPHeader | ErrorType::Custom(_) | ErrorType::HTTPStatus(_) => {
            (ErrorCode::BadRequest, "the request is malformed")
        }
        ErrorType::ConnectError => (
            ErrorCode::BadRequest,
            "nothing may follow the request before its upgrade is answered",
        ),
        ErrorType::ReadTimedout => (ErrorCode::BodyTimeout, "the body stood still"),
        _ => (ErrorCode::ClientClosed, ""),
    }
}

fn of_backend(kind: &ErrorType) -> (ErrorCode, &'static str) {
    match kind {
        kind if is_connect(kind) => (ErrorCode::UpstreamConnect, "the backend cannot be reached"),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => {
            (ErrorCode::UpstreamTimeout, "the backend stood still")
        }
        _ => (
            ErrorCode::UpstreamReset,
            "the backend closed the connection",
        ),
    }
}

fn is_connect(kind: &ErrorType) -> bool {
    matches!(
        kind,
        ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::TLSHandshakeFailure
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::InvalidCert
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_an_error_is_comes_before_its_kind() {
        let code = |kind: ErrorType, source: fn(&mut Error)| {
            let mut error = Error::new(kind);
            source(&mut error);
            refusal_of(&error).code
        };
        let client = Error::as_down;
        let backend = Error::as_up;
        let chunk = ErrorType::Custom("InvalidChunk");
        let cut = ErrorType::Custom("PrematureBodyEnd");
        assert_eq!(code(ErrorType::ConnectError, client), ErrorCode::BadRequest);
        assert_eq!(
            code(ErrorType::ConnectError, backend),
            ErrorCode::UpstreamConnect
        );
        assert_eq!(code(chunk.clone(), client), ErrorCode::BadRequest);
        assert_eq!(code(chunk, backend), ErrorCode::UpstreamReset);
        assert_eq!(code(cut, client), ErrorCode::ClientClosed);
        assert_eq!(
            code(ErrorType::ConnectionClosed, client),
            ErrorCode::ClientClosed
        );
        assert_eq!(
            code(ErrorType::ReadTimedout, backend),
            ErrorCode::UpstreamTimeout
        );
        assert_eq!(
            code(ErrorType::ConnectRefused, |_| {}),
            ErrorCode::UpstreamConnect
        );
    }
}
