//! Writes a response from the HTTP cache: whole, in part, or as the answer to a condition. It is served in the content
//! coding in which it was stored.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

use super::{ResponseOutcome, stored, whole};
use crate::exchange::Exchange;
use crate::http::response_head::ResponseHead;
use crate::http::session::Session;

/// A response from the HTTP cache for a client.
pub(crate) struct ReusedResponse<'a, P> {
    pub(crate) status: StatusCode,
    /// Lines of `name: value` and CR LF, with `Date`, without `Age` and the length of the body.
    pub(crate) head_lines: &'a [u8],
    pub(crate) age_s: u64,
    pub(crate) content: ReusedContent,
    /// The length of what is written of the body.
    pub(crate) bytes: usize,
    pub(crate) pieces: P,
}

/// What the head states of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReusedContent {
    /// A status without a body: 204, 304.
    None,
    Whole,
    /// A part that begins at `first`, of `length` bytes.
    Part {
        first: usize,
        length: usize,
    },
    /// 416 for a body of `length` bytes.
    OutOfRange {
        length: usize,
    },
}

/// Completes the head of a response to an equal request, which is on its way: what it states of the body, and the length
/// of what is written of it, if that is known.
pub(crate) fn head_of_followed(
    exchange: &mut Exchange,
    mut head: ResponseHead,
    age_s: u64,
    (content, bytes): (ReusedContent, Option<u64>),
) -> ResponseHead {
    if age_s > 0 {
        head.number(&header::AGE, age_s);
    }
    if let Some(bytes) = bytes {
        head.number(&header::CONTENT_LENGTH, bytes);
        if let Some(range) = content_range(content, bytes) {
            head.status = StatusCode::PARTIAL_CONTENT;
            head.field(&header::CONTENT_RANGE, &range);
        }
    }
    whole::begin(exchange, &mut head);
    head
}

/// `Content-Range` of a part of `bytes` bytes, or of a range that is not there.
fn content_range(content: ReusedContent, bytes: u64) -> Option<HeaderValue> {
    let range = match content {
        ReusedContent::None | ReusedContent::Whole => return None,
        ReusedContent::Part { first, length } => {
            let last = first as u64 + bytes.saturating_sub(1);
            format!("bytes {first}-{last}/{length}")
        }
        ReusedContent::OutOfRange { length } => format!("bytes */{length}"),
    };
    HeaderValue::from_str(&range).ok()
}

/// Writes the response; its body only if the request is no `HEAD`.
pub(crate) async fn write<P>(
    session: &mut Session,
    exchange: &mut Exchange,
    response: ReusedResponse<'_, P>,
) -> ResponseOutcome
where
    P: Iterator<Item = Bytes>,
{
    let ReusedResponse {
        status,
        head_lines,
        age_s,
        content,
        bytes,
        pieces,
    } = response;
    let mut head = match content {
        ReusedContent::OutOfRange { .. } => {
            // The next cache must not store it as the response for this URI.
            ResponseHead::with_lines(status, b"cache-control: no-store\r\n")
        }
        ReusedContent::None | ReusedContent::Whole | ReusedContent::Part { .. } => {
            ResponseHead::with_dated_lines(status, head_lines)
        }
    };
    head.number(&header::AGE, age_s);
    if let Some(range) = content_range(content, bytes as u64) {
        head.field(&header::CONTENT_RANGE, &range);
    }
    if content != ReusedContent::None {
        head.number(&header::CONTENT_LENGTH, bytes as u64);
    }
    whole::begin(exchange, &mut head);
    if bytes == 0 || exchange.method == Method::HEAD {
        return match session.write_bare_head(head).await {
            Ok(()) => ResponseOutcome::Whole,
            Err(_) => ResponseOutcome::ClientLeft,
        };
    }
    if session.write_head(head).await.is_err() {
        return ResponseOutcome::ClientLeft;
    }
    stored::write_pieces(session, exchange, pieces).await
}
