//! Delivers a response from the HTTP cache.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::answer::ResponseOutcome;
use crate::answer::reused::{self, ReusedContent, ReusedResponse};
use crate::cache::http::{ServedAs, StoredVariant};
use crate::exchange::Exchange;
use crate::http::session::Session;
use crate::refusal::ErrorCode;

/// A stored response that serves a request.
pub(super) struct Reused {
    response: Arc<StoredVariant>,
    age_s: u64,
}

impl Reused {
    pub(super) fn new(response: Arc<StoredVariant>, now: Duration) -> Self {
        Reused {
            age_s: response.age_s(now),
            response,
        }
    }

    /// The value of `Age`.
    pub(super) fn age_s(&self) -> u64 {
        self.age_s
    }
}

/// Delivers a stored response, or the part of it that the request asks for.
pub(super) async fn deliver(
    session: &mut Session,
    exchange: &mut Exchange,
    reused: &Reused,
) -> ResponseOutcome {
    let stored = &*reused.response;
    if stored.status().is_server_error() {
        exchange.error_code = Some(ErrorCode::UpstreamStatus);
    }
    let head = session.head();
    let served = ServedAs::of(&head.headers, stored, &head.method);
    let length = stored.length();
    let (status, lines, content) = match &served {
        ServedAs::Whole if stored.status() == StatusCode::NO_CONTENT => {
            (stored.status(), stored.head_lines(), ReusedContent::None)
        }
        ServedAs::Whole => (stored.status(), stored.head_lines(), ReusedContent::Whole),
        ServedAs::Part(part) => {
            let first = part.start;
            let content = ReusedContent::Part { first, length };
            (StatusCode::PARTIAL_CONTENT, stored.head_lines(), content)
        }
        ServedAs::NotModified(lines) => (StatusCode::NOT_MODIFIED, &lines[..], ReusedContent::None),
        ServedAs::RangeNotSatisfiable => {
            let content = ReusedContent::OutOfRange { length };
            (StatusCode::RANGE_NOT_SATISFIABLE, &[][..], content)
        }
    };
    let part = served.part(stored);
    let response = ReusedResponse {
        status,
        head_lines: lines,
        age_s: reused.age_s,
        content,
        bytes: part.len(),
        pieces: stored.pieces(part),
    };
    reused::write(session, exchange, response).await
}
