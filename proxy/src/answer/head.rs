//! The head of an answer: the backend's without its own hop, and what weir says beside it.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use crate::backend::outgoing::{is_hop_by_hop, nominated};
use crate::exchange::Exchange;
use crate::record::server_timing;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// How much room a head gets at first.
const FIELDS: usize = 16;

/// An empty head with a status.
pub(crate) fn with_status(status: StatusCode) -> Box<ResponseHeader> {
    match ResponseHeader::build_no_case(status, Some(FIELDS)) {
        Ok(head) => Box::new(head),
        // A `StatusCode` is always a valid one; pingora's signature does not know.
        Err(_) => Box::new(ServerSession::generate_error(500)),
    }
}

/// Sets a field. Names and values are valid by their types, so nothing can be refused.
pub(crate) fn set(head: &mut ResponseHeader, name: HeaderName, value: HeaderValue) {
    let _ = head.insert_header(name, value);
}

/// The backend's head as it goes on to the client.
pub(crate) fn of_backend(status: StatusCode, fields: &HeaderMap) -> Box<ResponseHeader> {
    let mut head = with_status(status);
    let nominated = nominated(fields);
    for (name, value) in fields {
        let ours = *name == X_REQUEST_ID || *name == SERVER_TIMING;
        if !is_hop_by_hop(name) && !ours && !nominated.contains(name) {
            let _ = head.append_header(name.clone(), value.clone());
        }
    }
    head
}

/// What weir says beside every answer: the request's id, where the time went, and what the stages
/// left in the exchange.
pub(crate) fn finish(head: &mut ResponseHeader, exchange: &mut Exchange) {
    if let Ok(id) = HeaderValue::from_str(&exchange.id) {
        set(head, X_REQUEST_ID, id);
    }
    if let Some(timing) = server_timing::header(&exchange.timing) {
        set(head, SERVER_TIMING, timing);
    }
    for (name, value) in exchange.answer_headers.drain(..) {
        set(head, name, value);
    }
}

/// Frames a body of unknown length: chunks over HTTP/1.1. HTTP/2 frames by itself, and HTTP/1.0 ends
/// with the connection.
pub(crate) fn frame(head: &mut ResponseHeader, session: &ServerSession) {
    let bodiless = matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let http11 = !session.is_http2() && session.req_header().version == Version::HTTP_11;
    if http11 && !bodiless && !head.headers.contains_key(header::CONTENT_LENGTH) {
        set(head, header::TRANSFER_ENCODING, CHUNKED);
    }
}
