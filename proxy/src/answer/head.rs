//! The head of an answer: the backend's without its own hop, and what weir says beside it.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, StatusCode};

use super::server_timing;
use crate::exchange::Exchange;
use crate::http::hop_by_hop::{is_hop_by_hop, nominated};
use crate::http::response_head::ResponseHead;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The backend's head as it goes on to the client, with what weir says beside it. How the body is framed
/// is said anew: `framing` has settled what the backend's own fields mean.
pub(super) fn of_backend(
    status: StatusCode,
    fields: &HeaderMap,
    length: Option<u64>,
    exchange: &mut Exchange,
) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    let nominated = nominated(fields);
    let said = &exchange.answer_headers;
    for (name, value) in fields {
        let ours = is_replaced(name, fields) || said.iter().any(|(said, _)| said == name);
        let dropped =
            is_hop_by_hop(name) || *name == CONTENT_LENGTH || ours || nominated.contains(name);
        if !dropped {
            head.field(name, value);
        }
    }
    if let Some(bytes) = length {
        head.number(&CONTENT_LENGTH, bytes);
    }
    if let Some((name, value)) = upstream_request_id(fields) {
        head.field(&name, value);
    }
    finish(&mut head, exchange);
    head
}

/// The head of a backend that switches protocols: the one answer whose `Upgrade` goes on.
pub(crate) fn of_upgrade(fields: &HeaderMap, exchange: &mut Exchange) -> ResponseHead {
    let status = StatusCode::SWITCHING_PROTOCOLS;
    let mut head = of_backend(status, fields, None, exchange);
    head.field(&CONNECTION, &HeaderValue::from_static("upgrade"));
    for protocol in fields.get_all(UPGRADE) {
        head.field(&UPGRADE, protocol);
    }
    head
}

/// What a backend says before its answer, as it goes on to the client.
pub(crate) fn of_informational(status: StatusCode, fields: &HeaderMap) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    let nominated = nominated(fields);
    for (name, value) in fields {
        if !is_hop_by_hop(name) && *name != CONTENT_LENGTH && !nominated.contains(name) {
            head.field(name, value);
        }
    }
    head
}

/// The trailers of a backend that may come behind an answer (RFC 9110, section 6.5.1): nothing that says
/// how the message is framed, routed, cached, authenticated or decoded, and nothing that weir says itself.
pub(super) fn trailers(mut fields: HeaderMap) -> HeaderMap {
    let nominated = nominated(&fields);
    let wrong: Vec<_> = fields
        .keys()
        .filter(|name| {
            is_hop_by_hop(name)
                || **name == X_REQUEST_ID
                || **name == SERVER_TIMING
                || nominated.contains(name)
                || is_no_trailer(name.as_str())
        })
        .cloned()
        .collect();
    for name in &wrong {
        fields.remove(name);
    }
    fields
}

fn is_no_trailer(name: &str) -> bool {
    name.starts_with("content-") && name != "content-digest"
        || name.starts_with("access-control-")
        || matches!(
            name,
            "age"
                | "allow"
                | "authorization"
                | "cache-control"
                | "cache-status"
                | "clear-site-data"
                | "date"
                | "expires"
                | "host"
                | "location"
                | "pragma"
                | "ratelimit"
                | "ratelimit-policy"
                | "retry-after"
                | "set-cookie"
                | "strict-transport-security"
                | "vary"
                | "warning"
                | "www-authenticate"
        )
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
pub(super) fn finish(head: &mut ResponseHead, exchange: &mut Exchange) {
    for (name, value) in said(exchange) {
        head.field(&name, &value);
    }
}
