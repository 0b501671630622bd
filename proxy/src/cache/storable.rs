//! Which responses are storable (RFC 9111, section 3), judged by their heads, and which of their headers are
//! stored.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::cache_control::for_each_directive;
use super::{Scope, key};
use crate::http::hop_by_hop::{has_option, is_hop_by_hop};

/// Why a response is not storable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStorable {
    /// Not 200: any other success is partial, pending, or of a call that created something.
    Status,
    /// Not a single type that is JSON, lines of JSON, or an event stream.
    ContentType,
    /// It is a part, by its `Content-Range`.
    Part,
    /// Its `Cache-Control` forbids it, for this scope or for all.
    Forbidden,
    /// It sets a cookie, which is for one client only.
    SetCookie,
    /// It depends on a header that is not part of the key.
    Varies,
    /// Its `Content-Length` is larger than what is stored.
    TooLarge,
    /// It is stale already, by its `Cache-Control`, `Expires` or `Age`.
    Stale,
}

/// What decides whether a response is storable, apart from its head.
pub(super) struct StorageRules<'a> {
    pub(super) scope: Scope,
    pub(super) body_bytes_max: usize,
    /// Request headers that are in no key.
    pub(super) ignored: &'a [HeaderName],
    /// Request headers that are in no key because the signature stage has verified them for this request.
    pub(super) verified: &'a [HeaderName],
}

/// Why a response is not storable, if its head forbids it. Its freshness is checked apart.
pub(super) fn not_storable(
    status: u16,
    headers: &HeaderMap,
    rules: &StorageRules<'_>,
) -> Option<NotStorable> {
    if status != StatusCode::OK {
        return Some(NotStorable::Status);
    }
    if !is_readable(headers) {
        return Some(NotStorable::ContentType);
    }
    if headers.contains_key(header::CONTENT_RANGE) {
        return Some(NotStorable::Part);
    }
    if headers.contains_key(header::SET_COOKIE) {
        return Some(NotStorable::SetCookie);
    }
    if is_forbidden(headers, rules.scope) {
        return Some(NotStorable::Forbidden);
    }
    if varies(headers, rules) {
        return Some(NotStorable::Varies);
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > rules.body_bytes_max) {
        return Some(NotStorable::TooLarge);
    }
    None
}

/// Whether the type of a response is one that can be checked to be complete and successful.
fn is_readable(headers: &HeaderMap) -> bool {
    const TYPES: [&[u8]; 5] = [
        b"application/json",
        b"text/event-stream",
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
    ];
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = value.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    // A problem (RFC 9457) is an error whatever the status.
    let is_problem = essence.eq_ignore_ascii_case(b"application/problem+json");
    let is_json = essence
        .last_chunk::<5>()
        .is_some_and(|end| end.eq_ignore_ascii_case(b"+json"));
    (is_json && !is_problem)
        || TYPES
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known))
}

fn is_forbidden(headers: &HeaderMap, scope: Scope) -> bool {
    let mut forbidden = false;
    for_each_directive(headers, |name, _| {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        forbidden |= is("no-store") || is("no-cache") || (is("private") && scope == Scope::Route);
    });
    forbidden
}

fn varies(headers: &HeaderMap, rules: &StorageRules<'_>) -> bool {
    headers.get_all(header::VARY).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| {
            let name = name.trim_ascii();
            // `*` names no header in the key, and neither does an invalid name.
            let is_keyed = || {
                let name = HeaderName::from_bytes(name).ok()?;
                let counted = key::is_keyed(&name, rules.scope, rules.ignored);
                Some(name.as_str() != "*" && counted && !rules.verified.contains(&name))
            };
            !name.is_empty() && is_keyed() != Some(true)
        })
    })
}

/// The headers that are stored: none of a connection, a moment, or a coding.
pub(super) fn stored_headers(
    headers: &HeaderMap,
) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    // Hardly any response names headers in `Connection`: one lookup is enough for all.
    let has_options = headers.contains_key(header::CONNECTION);
    headers.iter().filter(move |(name, _)| {
        !(is_not_stored(name) || has_options && has_option(headers, name.as_str().as_bytes()))
    })
}

/// Whether a header is hop-by-hop (RFC 9110, section 7.6.1), or set anew by weir for each hit.
fn is_not_stored(name: &HeaderName) -> bool {
    if is_hop_by_hop(name) {
        return true;
    }
    let name = name.as_str();
    matches!(
        name,
        "proxy-authentication-info"
            | "age"
            | "alt-svc"
            | "cache-status"
            | "content-encoding"
            | "content-length"
            | "date"
            | "retry-after"
            | "server-timing"
            | "set-cookie"
            | "traceparent"
            | "traceresponse"
            | "tracestate"
            | "x-request-id"
            | "x-upstream-request-id"
    ) || name.starts_with("ratelimit")
        || name.starts_with("x-ratelimit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_readable_types_are_storable() {
        for (kind, stored) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/event-stream;charset=utf-8", true),
            ("application/x-ndjson", true),
            ("application/vnd.api+json", true),
            ("text/html", false),
            ("text/plain", false),
            ("application/octet-stream", false),
            ("audio/mpeg", false),
            ("application/jsonp", false),
            ("application/problem+json", false),
            ("Application/Problem+JSON; charset=utf-8", false),
            ("", false),
        ] {
            assert_eq!(
                is_readable(&head(&[("content-type", kind)])),
                stored,
                "{kind}"
            );
        }
        assert!(!is_readable(&HeaderMap::new()));
        let json = ("content-type", "application/json");
        assert!(!is_readable(&head(&[json, json])));
    }

    fn forbidden(
        status: u16,
        lines: &[(&'static str, &'static str)],
        scope: Scope,
    ) -> Option<NotStorable> {
        let rules = StorageRules {
            scope,
            body_bytes_max: 1000,
            ignored: &[
                header::ACCEPT_ENCODING,
                HeaderName::from_static("x-ignored"),
            ],
            verified: &[HeaderName::from_static("x-signature")],
        };
        let mut headers = head(lines);
        headers.append(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        not_storable(status, &headers, &rules)
    }

    #[test]
    fn heads_decide_what_is_storable() {
        use NotStorable::{Forbidden, Part, SetCookie, Status, TooLarge, Varies};
        let both = |not_storable| (not_storable, not_storable);
        for (status, line, (route, client)) in [
            (200, ("server", "x"), both(None)),
            (200, ("content-length", "1000"), both(None)),
            (200, ("content-length", "a lot"), both(None)),
            (200, ("content-length", "1001"), both(Some(TooLarge))),
            (199, ("server", "x"), both(Some(Status))),
            (201, ("server", "x"), both(Some(Status))),
            (202, ("server", "x"), both(Some(Status))),
            (203, ("server", "x"), both(Some(Status))),
            (204, ("server", "x"), both(Some(Status))),
            (206, ("server", "x"), both(Some(Status))),
            (299, ("server", "x"), both(Some(Status))),
            (300, ("server", "x"), both(Some(Status))),
            (500, ("server", "x"), both(Some(Status))),
            (200, ("set-cookie", "a=b"), both(Some(SetCookie))),
            (200, ("content-range", "bytes 0-9/20"), both(Some(Part))),
            (
                200,
                ("cache-control", "public, NO-STORE"),
                both(Some(Forbidden)),
            ),
            (200, ("cache-control", "no-cache"), both(Some(Forbidden))),
            (
                200,
                ("cache-control", "no-cache=\"a, b\""),
                both(Some(Forbidden)),
            ),
            (200, ("cache-control", "private"), (Some(Forbidden), None)),
            (
                200,
                ("cache-control", "private=\"a, b\""),
                (Some(Forbidden), None),
            ),
            (200, ("cache-control", "max-age=60"), both(None)),
            (200, ("vary", "Accept, ORIGIN, accept-encoding"), both(None)),
            (200, ("vary", "x-tenant, Host, x-weir-platform"), both(None)),
            (200, ("vary", ""), both(None)),
            (200, ("vary", "x-weir-client"), (Some(Varies), None)),
            (200, ("vary", "*"), both(Some(Varies))),
            (200, ("vary", "accept, user-agent"), both(Some(Varies))),
            (200, ("vary", "X-Forwarded-For"), both(Some(Varies))),
            (200, ("vary", "X-Ignored"), both(Some(Varies))),
            (200, ("vary", "x-signature"), both(Some(Varies))),
            (200, ("vary", "not a name"), both(Some(Varies))),
        ] {
            assert_eq!(
                forbidden(status, &[line], Scope::Route),
                route,
                "{status} {line:?}"
            );
            assert_eq!(
                forbidden(status, &[line], Scope::Client),
                client,
                "{status} {line:?}"
            );
        }
        let twice = [("cache-control", "public"), ("cache-control", "no-store")];
        assert_eq!(forbidden(200, &twice, Scope::Client), Some(Forbidden));
    }

    #[test]
    fn headers_of_one_exchange_are_not_stored() {
        let headers = head(&[
            ("content-type", "application/json"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("date", "Sun, 22 Nov 2026 08:30:00 GMT"),
            ("ratelimit-policy", "x"),
            ("ratelimit", "x"),
            ("x-ratelimit-remaining-tokens", "1"),
            ("x-request-id", "1"),
            ("x-upstream-request-id", "1"),
            ("traceparent", "00"),
            ("openai-version", "2020-10-01"),
        ]);
        let names: Vec<_> = stored_headers(&headers)
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["content-type", "openai-version"]);
    }
}
