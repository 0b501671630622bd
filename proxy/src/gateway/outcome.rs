//! How a request ended: why it was stopped, what its exchange records, and whether its connection can be reused.

use pingora::server::ShutdownWatch;

use super::{Gateway, ResponseSource};
use crate::answer::ResponseOutcome;
use crate::answer::local::LocalResponse;
use crate::body::BodyFailure;
use crate::clock;
use crate::exchange::{ClientEnd, Exchange};
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};
use crate::signature::PlatformResponse;

/// How the serving of a request ended, for the owner of its connection.
pub(crate) enum Served {
    /// The response is complete: the connection can be reused.
    Whole,
    /// The response is complete, but the request has not been read to its end: the connection lingers, then
    /// closes.
    Unread,
    /// The client disconnected, or the response was cut short: the connection closes at once.
    Broken,
}

/// Why a request did not reach the end of the pipeline.
pub(crate) enum Stop {
    Refused(Refusal),
    /// A platform's own request, to which weir responds itself.
    Platform(PlatformResponse),
    /// `OPTIONS *`, which concerns weir as a whole: the methods that it serves.
    ServerOptions(String),
    ClientLeft,
}

impl Stop {
    /// The response to the client; `None` if it has disconnected.
    pub(super) fn into_response(self) -> Option<LocalResponse> {
        match self {
            Stop::Refused(refusal) => Some(LocalResponse::Refusal(refusal)),
            Stop::Platform(response) => Some(LocalResponse::Platform {
                status: response.status,
                content_type: response.content_type,
                body: response.body,
            }),
            Stop::ServerOptions(methods) => Some(LocalResponse::Options(methods)),
            Stop::ClientLeft => None,
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<BodyFailure> for Stop {
    fn from(failure: BodyFailure) -> Self {
        match failure {
            BodyFailure::Refused(refusal) => Stop::Refused(refusal),
            BodyFailure::ClientLeft => Stop::ClientLeft,
        }
    }
}

impl Gateway {
    /// Writes the response to a request that was stopped, if its client is still connected.
    pub(super) async fn respond_to_stop(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        stop: Stop,
        shutdown: &ShutdownWatch,
    ) -> ResponseOutcome {
        if let Stop::Refused(refusal) = &stop
            && is_unread(session, Some(refusal.code))
        {
            session.close_after_response();
        }
        let Some(response) = stop.into_response() else {
            return ResponseOutcome::ClientLeft;
        };
        let mut source = ResponseSource::Local(response);
        self.deliver(session, exchange, &mut source, shutdown).await
    }
}

/// Whether the client may still send bytes of this request, which must not be mistaken for the next one. After
/// some errors, the end of the request is unknown.
pub(super) fn is_unread(session: &mut Session, code: Option<ErrorCode>) -> bool {
    !session.is_body_done()
        || matches!(
            code,
            Some(ErrorCode::BadRequest | ErrorCode::BodyTooLarge | ErrorCode::BodyTimeout)
        )
}

/// Whether the backend has accepted a platform's delivery, so that it does not have to be repeated. Platforms read
/// only the status of a response, so the content of its body does not matter; it must be complete.
pub(super) fn is_accepted(outcome: ResponseOutcome, status: u16) -> bool {
    let is_whole = match outcome {
        ResponseOutcome::Whole | ResponseOutcome::LeftAtEnd => true,
        ResponseOutcome::CutShort | ResponseOutcome::ClientLeft => false,
    };
    is_whole && (200..300).contains(&status)
}

/// Notes the end of the request and its outcome. Once the head of a response has been written, its status
/// is final, whatever the client does afterwards.
pub(super) fn finish(
    session: &Session,
    exchange: &mut Exchange,
    outcome: ResponseOutcome,
) -> Served {
    exchange.finish(clock::now());
    match outcome {
        ResponseOutcome::Whole => Served::Whole,
        ResponseOutcome::CutShort | ResponseOutcome::LeftAtEnd => Served::Broken,
        ResponseOutcome::ClientLeft => {
            match session.has_begun_response() {
                true => exchange.client = ClientEnd::Aborted,
                false => {
                    exchange.response_body_bytes = 0;
                    exchange.error_code = Some(ErrorCode::ClientClosed);
                    exchange.status = ErrorCode::ClientClosed.status().as_u16();
                }
            }
            Served::Broken
        }
    }
}
