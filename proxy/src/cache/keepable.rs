//! Which answers may be kept, and which of their headers still make sense when they are.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::control::{for_each_directive, is_zero};
use super::{Scope, key};

/// Whether an answer may be kept, as far as its head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepable {
    Yes,
    /// Not a 2xx, or one without a whole body (204, 206).
    Status,
    /// Its `Cache-Control` forbids it, for this scope or for all.
    Forbidden,
    /// It sets a cookie, which is for one client at one time.
    SetCookie,
    /// It depends on a header that is not part of the key.
    Varies,
    /// Its `Content-Length` is beyond what is worth keeping.
    TooLarge,
}

pub(super) fn keepable(
    status: u16,
    headers: &HeaderMap,
    scope: Scope,
    body_bytes_max: usize,
) -> Keepable {
    if !(200..300).contains(&status) || matches!(status, 204 | 206) {
        return Keepable::Status;
    }
    if headers.contains_key(header::SET_COOKIE) {
        return Keepable::SetCookie;
    }
    if forbidden(headers, scope) {
        return Keepable::Forbidden;
    }
    if varies(headers) {
        return Keepable::Varies;
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > body_bytes_max) {
        return Keepable::TooLarge;
    }
    Keepable::Yes
}

fn forbidden(headers: &HeaderMap, scope: Scope) -> bool {
    let mut forbidden = false;
    for_each_directive(headers, |name, argument| {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        forbidden |= is("no-store")
            || is("no-cache")
            || (is("private") && scope == Scope::Route)
            || ((is("max-age") || is("s-maxage")) && is_zero(argument));
    });
    forbidden
}

fn varies(headers: &HeaderMap) -> bool {
    headers.get_all(header::VARY).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| {
            let name = name.trim_ascii();
            let keyed = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
            !name.is_empty() && !key::KEYED_HEADERS.iter().any(keyed)
        })
    })
}

/// The headers without what was said of one connection or one moment.
pub(super) fn lasting(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().filter(|(name, _)| {
        let mut lines = headers.get_all(header::CONNECTION).iter();
        let nominated = lines.any(|line| {
            let mut options = line.as_bytes().split(|byte| *byte == b',');
            options.any(|option| {
                let option = option.trim_ascii();
                option.eq_ignore_ascii_case(name.as_str().as_bytes())
            })
        });
        !nominated && !is_fleeting(name.as_str())
    })
}

/// Hop-by-hop headers (RFC 9110 section 7.6.1), and those that weir or the next hit says anew.
fn is_fleeting(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "age"
            | "alt-svc"
            | "cache-status"
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
    fn only_answers_that_may_be_said_again_are_kept() {
        use Keepable::{Forbidden, SetCookie, Status, TooLarge, Varies, Yes};
        for (status, line, route, client) in [
            (200, ("server", "x"), Yes, Yes),
            (201, ("content-length", "1000"), Yes, Yes),
            (299, ("content-length", "a lot"), Yes, Yes),
            (200, ("content-length", "1001"), TooLarge, TooLarge),
            (199, ("server", "x"), Status, Status),
            (204, ("server", "x"), Status, Status),
            (206, ("server", "x"), Status, Status),
            (300, ("server", "x"), Status, Status),
            (500, ("server", "x"), Status, Status),
            (200, ("set-cookie", "a=b"), SetCookie, SetCookie),
            (
                200,
                ("cache-control", "public, NO-STORE"),
                Forbidden,
                Forbidden,
            ),
            (200, ("cache-control", "no-cache"), Forbidden, Forbidden),
            (200, ("cache-control", "private"), Forbidden, Yes),
            (200, ("cache-control", "private=\"a, b\""), Forbidden, Yes),
            (200, ("cache-control", "max-age=0"), Forbidden, Forbidden),
            (
                200,
                ("cache-control", "max-age = \"00\""),
                Forbidden,
                Forbidden,
            ),
            (200, ("cache-control", "max-age=60"), Yes, Yes),
            (200, ("cache-control", "max-age="), Yes, Yes),
            (200, ("vary", "Accept, ORIGIN, accept-encoding"), Yes, Yes),
            (200, ("vary", ""), Yes, Yes),
            (200, ("vary", "*"), Varies, Varies),
            (200, ("vary", "accept, user-agent"), Varies, Varies),
        ] {
            let headers = head(&[line]);
            assert_eq!(
                keepable(status, &headers, Scope::Route, 1000),
                route,
                "{line:?}"
            );
            assert_eq!(
                keepable(status, &headers, Scope::Client, 1000),
                client,
                "{line:?}"
            );
        }
        let twice = head(&[("cache-control", "public"), ("cache-control", "no-store")]);
        assert_eq!(keepable(200, &twice, Scope::Client, 1), Forbidden);
    }

    #[test]
    fn fleeting_headers_are_dropped_and_others_stay() {
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
        let names: Vec<_> = lasting(&headers).map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["content-type", "openai-version"]);
    }
}
