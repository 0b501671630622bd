//! How a request ended: why it was stopped, what its exchange records, what becomes of its connection.

use crate::answer::Delivered;
use crate::answer::local::LocalResponse;
use crate::body::BodyFailure;
use crate::clock;
use crate::exchange::{ClientEnd, Exchange};
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};
use crate::signature::PlatformAnswer;

/// How the serving of a request ended, for the owner of its connection.
pub(crate) enum Served {
    /// The response is complete: the connection can be used again.
    Whole,
    /// The response is complete, but the request has not been read to its end: the connection lingers, then
    /// closes.
    Refused,
    /// The client left, or the response was cut short: the connection closes at once.
    Broken,
}

/// Why a request did not come to the end of the pipeline.
pub(crate) enum Stop {
    Refused(Refusal),
    /// A platform's own request, answered here.
    Platform(PlatformAnswer),
    /// `OPTIONS *`, for weir as a whole: the methods that it serves.
    ServerOptions(String),
    ClientLeft,
}

impl Stop {
    /// The response to the client; `None` if it left.
    pub(super) fn into_response(self) -> Option<LocalResponse> {
        match self {
            Stop::Refused(refusal) => Some(LocalResponse::Refusal(refusal)),
            Stop::Platform(answer) => Some(LocalResponse::Platform {
                status: answer.status,
                content_type: answer.content_type,
                body: answer.body,
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

/// Whether the client may still send bytes of this request, which must not be taken for the next one. After
/// some errors nobody knows where the request ends.
pub(super) fn is_unread(session: &mut Session, code: Option<ErrorCode>) -> bool {
    !session.is_body_done()
        || matches!(
            code,
            Some(ErrorCode::BadRequest | ErrorCode::BodyTooLarge | ErrorCode::BodyTimeout)
        )
}

/// Whether a platform's delivery need not be repeated. Platforms read no more of a response than its status,
/// so the content of its body does not count; that it was complete does.
pub(super) fn is_taken(delivered: Delivered, status: u16) -> bool {
    let is_whole = match delivered {
        Delivered::Whole | Delivered::LeftAtEnd => true,
        Delivered::CutShort | Delivered::ClientLeft => false,
    };
    is_whole && (200..300).contains(&status)
}

/// Notes the end of the request and its outcome. Once the head of a response has been written, its status
/// stands, whatever the client does then.
pub(super) fn finish(session: &Session, exchange: &mut Exchange, delivered: Delivered) -> Served {
    exchange.finish(clock::now());
    match delivered {
        Delivered::Whole => Served::Whole,
        Delivered::CutShort | Delivered::LeftAtEnd => Served::Broken,
        Delivered::ClientLeft => {
            match session.has_begun_answer() {
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
