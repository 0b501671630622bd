//! The head of a response: the backend's fields without the hop-by-hop fields, and those that weir adds.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, StatusCode};

use super::server_timing;
use crate::exchange::Exchange;
use crate::http::hop_by_hop::{is_hop_by_hop, nominated};
use crate::http::response_head::ResponseHead;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The backend's head for the client, with the fields that weir adds. The body is framed anew:
/// `framing.rs` decides what the backend's own framing fields mean.
pub(super) fn of_backend(
    status: StatusCode,
    fields: &HeaderMap,
    length: Option<u64>,
    exchange: &mut Exchange,
) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    let nominated = nominated(fields);
    let added = &exchange.response_headers;
    for (name, value) in fields {
        let replaced = is_replaced(name, fields) || added.iter().any(|(added, _)| added == name);
        let dropped =
            is_hop_by_hop(name) || *name == CONTENT_LENGTH || replaced || nominated.contains(name);
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

/// The head of a backend that switches protocols: the only response whose `Upgrade` is forwarded.
pub(crate) fn of_upgrade(fields: &HeaderMap, exchange: &mut Exchange) -> ResponseHead {
    let status = StatusCode::SWITCHING_PROTOCOLS;
    let mut head = of_backend(status, fields, None, exchange);
    head.field(&CONNECTION, &HeaderValue::from_static("upgrade"));
    for protocol in fields.get_all(UPGRADE) {
        head.field(&UPGRADE, protocol);
    }
    head
}

/// The head of an informational (1xx) response for the client.
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

/// The backend's trailers that are forwarded (RFC 9110, section 6.5.1): none that frame, route, cache,
/// authenticate or decode the message, and none that weir writes itself.
pub(super) fn trailers(mut fields: HeaderMap) -> HeaderMap {
    let nominated = nominated(&fields);
    let removed: Vec<_> = fields
        .keys()
        .filter(|name| {
            is_hop_by_hop(name)
                || **name == X_REQUEST_ID
                || **name == SERVER_TIMING
                || nominated.contains(name)
                || is_not_for_trailers(name.as_str())
        })
        .cloned()
        .collect();
    for name in &removed {
        fields.remove(name);
    }
    fields
}

fn is_not_for_trailers(name: &str) -> bool {
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

/// Whether weir replaces a field of the backend with its own.
fn is_replaced(name: &HeaderName, fields: &HeaderMap) -> bool {
    *name == X_REQUEST_ID
        || *name == SERVER_TIMING
        || (*name == X_UPSTREAM_REQUEST_ID && fields.contains_key(X_REQUEST_ID))
}

/// The backend's own request id, under another name: `X-Request-Id` is weir's. If the backend is itself a weir,
/// this is that weir's id, not the one of the backend behind it.
fn upstream_request_id(fields: &HeaderMap) -> Option<(HeaderName, &HeaderValue)> {
    let id = fields.get(X_REQUEST_ID)?;
    Some((X_UPSTREAM_REQUEST_ID, id))
}

/// Adds weir's own fields to a head: the request's id, `Server-Timing`, and those that the stages left in the exchange.
pub(super) fn finish(head: &mut ResponseHead, exchange: &mut Exchange) {
    head.constant_field(b"x-request-id: ", |text| {
        text.extend_from_slice(exchange.id.as_str().as_bytes());
    });
    if exchange.timing.has_laps() {
        head.constant_field(b"server-timing: ", |text| {
            server_timing::append(&exchange.timing, text);
        });
    }
    for (name, value) in exchange.response_headers.drain(..) {
        head.field(&name, &value);
    }
}
