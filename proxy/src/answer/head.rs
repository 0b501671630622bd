//! The head of an answer: the backend's without its own hop, and what weir says beside it.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::backend::outgoing::{is_hop_by_hop, nominated};
use crate::exchange::Exchange;
use crate::listener::answer_head::AnswerHead;
use crate::record::server_timing;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The backend's head as it goes on to the client, with what weir says beside it.
pub(super) fn of_backend(
    status: StatusCode,
    fields: &HeaderMap,
    exchange: &mut Exchange,
) -> AnswerHead {
    let mut head = AnswerHead::new(status);
    let nominated = nominated(fields);
    let said = &exchange.answer_headers;
    for (name, value) in fields {
        let ours = is_replaced(name, fields) || said.iter().any(|(said, _)| said == name);
        // RFC 9110, section 8.6: 204 has no length, and a client that believes one waits for a body.
        let stray = status == StatusCode::NO_CONTENT && *name == CONTENT_LENGTH;
        if !is_hop_by_hop(name) && !stray && !ours && !nominated.contains(name) {
            head.field(name, value);
        }
    }
    if let Some((name, value)) = upstream_request_id(fields) {
        head.field(&name, value);
    }
    finish(&mut head, exchange);
    head
}

/// Whether a field of the backend gives way to what weir says.
fn is_replaced(name: &HeaderName, fields: &HeaderMap) -> bool {
    *name == X_REQUEST_ID
        || *name == SERVER_TIMING
        || (*name == X_UPSTREAM_REQUEST_ID && fields.contains_key(X_REQUEST_ID))
}

/// The backend's own id of a request, which `X-Request-Id` has no room for. Of a backend that is a weir
/// itself it is that weir's, not the one from behind it.
pub(crate) fn upstream_request_id(fields: &HeaderMap) -> Option<(HeaderName, &HeaderValue)> {
    let id = fields.get(X_REQUEST_ID)?;
    Some((X_UPSTREAM_REQUEST_ID, id))
}

/// What weir says beside every answer: the request's id, where the time went, and what the stages
/// left in the exchange.
pub(crate) fn said(exchange: &mut Exchange) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let id = HeaderValue::from_str(exchange.id.as_str()).ok();
    let timing = server_timing::header(&exchange.timing);
    let id = id.map(|id| (X_REQUEST_ID, id));
    let timing = timing.map(|timing| (SERVER_TIMING, timing));
    id.into_iter()
        .chain(timing)
        .chain(exchange.answer_headers.drain(..))
}

/// Writes what weir says into a head.
pub(super) fn finish(head: &mut AnswerHead, exchange: &mut Exchange) {
    for (name, value) in said(exchange) {
        head.field(&name, &value);
    }
}
