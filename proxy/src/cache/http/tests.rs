use http::{HeaderMap, HeaderValue};

use super::*;

mod reuse;

/// Sunday, 6 November 1994, 08:49:37.
const NOW: Duration = Duration::from_secs(784_111_777);
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

type Lines<'a> = &'a [(&'static str, &'static str)];

fn headers(lines: Lines<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn is_replaced(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-request-id" | "x-forwarded-for")
}

const PAGE: ResourceName<'static> = ResourceName {
    scheme: "http",
    host: b"a.test",
    path: "/page",
    query: "",
    client: "",
};

fn key_of(name: &ResourceName<'_>, scope: Scope) -> CacheKey {
    key::of(name, scope, &request::Overrides::new())
}

struct TestCache(HttpCache);

/// What a lookup finds, in one word.
fn found(lookup: &HttpLookup) -> &'static str {
    match lookup {
        HttpLookup::Hit(_, _, HitKind::Fresh) => "hit",
        HttpLookup::Hit(_, _, HitKind::Stale) => "stale",
        HttpLookup::Revalidate(..) => "revalidate",
        HttpLookup::Forward(_, ForwardReason::Miss, _) => "miss",
        HttpLookup::Forward(_, ForwardReason::VaryMiss, _) => "vary-miss",
        HttpLookup::Forward(_, ForwardReason::Stale, _) => "validate",
        HttpLookup::Forward(_, ForwardReason::Request, _) => "request",
        HttpLookup::NotCached => "not cached",
        HttpLookup::Bypass(_) => "bypass",
        HttpLookup::Unsafe => "unsafe",
    }
}

impl TestCache {
    fn new() -> Self {
        TestCache::with(1 << 20, Scope::Route)
    }

    fn with(memory_bytes: u64, scope: Scope) -> Self {
        TestCache(HttpCache::new(&Config {
            memory_bytes,
            scope,
            coalescing: Coalescing::Enabled,
        }))
    }

    /// A `POST` has been successful.
    fn invalidate_after(&self, request: &HeaderMap, status: u16, response: &HeaderMap) {
        let request = HttpRequest {
            method: &Method::POST,
            name: PAGE,
            headers: request,
            is_forwarded: &|_| true,
            is_replaced,
        };
        let status = StatusCode::from_u16(status).expect("a status");
        self.0.invalidate_after(&request, status, response);
    }

    fn look_up(&self, name: ResourceName<'_>, request: &HeaderMap, now: Duration) -> HttpLookup {
        let request = HttpRequest {
            method: &Method::GET,
            name,
            headers: request,
            is_forwarded: &|name| name != "x-stripped",
            is_replaced,
        };
        self.0.look_up(&request, now)
    }

    fn store(
        &self,
        name: ResourceName<'_>,
        request: &HeaderMap,
        status: u16,
        response: &HeaderMap,
    ) -> Result<(), NotStored> {
        let request = HttpRequest {
            method: &Method::GET,
            name,
            headers: request,
            is_forwarded: &|_| true,
            is_replaced,
        };
        let HttpLookup::Forward(request_key, ..) = self.0.look_up(&request, NOW) else {
            panic!("nothing is stored yet");
        };
        let status = StatusCode::from_u16(status).expect("a status");
        let times = ReceiptTimes {
            asked_at: NOW,
            received_at: NOW,
        };
        let copy = self.0.copy(&request, &request_key, status, response, times);
        let mut copy = copy?;
        copy.push(b"body");
        let stored = copy.finish().ok_or(NotStored::TooLarge)?;
        self.0.store(&request_key.key, stored, crate::clock::now());
        Ok(())
    }
}

/// Stores a response with these headers, and looks the page up `after` seconds with those of the request.
fn reused(response: Lines<'_>, request: Lines<'_>, after: u64) -> &'static str {
    let cache = TestCache::new();
    let stored = cache.store(PAGE, &HeaderMap::new(), 200, &headers(response));
    if stored.is_err() {
        return "not stored";
    }
    let lookup = cache.look_up(PAGE, &headers(request), NOW + seconds(after));
    found(&lookup)
}

const ETAG: (&str, &str) = ("etag", "\"a\"");

fn cc(value: &'static str) -> (&'static str, &'static str) {
    ("cache-control", value)
}

/// RFC 9111, sections 4.2 and 5.2.2; RFC 5861; RFC 9213.
#[test]
fn responses_are_fresh_for_the_time_that_they_state() {
    let cdn = |value| ("cdn-cache-control", value);
    for (response, last, then) in [
        (&[cc("max-age=60"), ETAG][..], Some(59), "validate"),
        (&[cc("max-age=5, s-maxage=60"), ETAG], Some(59), "validate"),
        (
            &[cc("max-age=60"), ("age", "20"), ETAG],
            Some(39),
            "validate",
        ),
        (
            &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ETAG],
            Some(59),
            "validate",
        ),
        (&[("expires", "0"), ETAG], None, "validate"),
        // A tenth of a day, and no more than a day.
        (
            &[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")],
            Some(8_639),
            "validate",
        ),
        (
            &[("last-modified", "Mon, 05 Nov 1984 08:49:37 GMT")],
            Some(86_399),
            "validate",
        ),
        (&[cc("max-age=60, no-cache"), ETAG], None, "validate"),
        (
            &[cc("max-age=5"), cdn("max-age=60"), ETAG],
            Some(59),
            "validate",
        ),
        (
            &[cc("max-age=60"), cdn("max-age=5"), ETAG],
            Some(4),
            "validate",
        ),
        (
            &[cc("max-age=60"), cdn("MAX-AGE=5"), ETAG],
            Some(59),
            "validate",
        ),
        (
            &[cc("max-age=60, stale-while-revalidate=9"), ETAG],
            Some(59),
            "revalidate",
        ),
        (
            &[
                cc("max-age=60, stale-while-revalidate=9, must-revalidate"),
                ETAG,
            ],
            Some(59),
            "validate",
        ),
    ] {
        if let Some(last) = last {
            assert_eq!(reused(response, &[], last), "hit", "{response:?}");
        }
        let next = last.map_or(0, |last| last + 1);
        assert_eq!(reused(response, &[], next), then, "{response:?}");
    }
}

/// RFC 9111, section 3.
#[test]
fn responses_are_stored_where_they_and_their_request_allow_it() {
    use NotStored::{Credentials, Forbidden, SetCookie, Status, TooLarge, Useless, Varies};
    let none: Lines<'_> = &[];
    let authorized: Lines<'_> = &[("authorization", "Basic YTpi")];
    let cookie: Lines<'_> = &[("cookie", "a=b")];
    let modified = ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT");
    let fresh = cc("max-age=60");
    for (request, status, response, expected) in [
        (none, 200, &[fresh][..], Ok(())),
        (none, 200, &[], Err(Useless)),
        (none, 200, &[cc("max-age=0")], Err(Useless)),
        (none, 200, &[cc("max-age=0"), ETAG], Ok(())),
        (none, 404, &[modified], Ok(())),
        (none, 302, &[fresh], Ok(())),
        (none, 299, &[fresh], Ok(())),
        (none, 503, &[fresh], Ok(())),
        (none, 599, &[modified, cc("public")], Ok(())),
        (none, 206, &[fresh], Err(Status)),
        (none, 304, &[fresh], Err(Status)),
        (none, 299, &[cc("max-age=60, must-understand")], Err(Status)),
        (
            none,
            200,
            &[cc("max-age=60, must-understand, no-store")],
            Ok(()),
        ),
        (none, 200, &[cc("max-age=60, no-store")], Err(Forbidden)),
        (
            none,
            200,
            &[cc("max-age=60, private=\"a\"")],
            Err(Forbidden),
        ),
        (
            none,
            200,
            &[cc("max-age=60, public"), ("set-cookie", "a=b")],
            Err(SetCookie),
        ),
        (none, 200, &[fresh, ("vary", "accept, *")], Err(Varies)),
        (none, 200, &[fresh, ("vary", "x-request-id")], Err(Varies)),
        (none, 200, &[fresh, ("vary", "origin, host")], Ok(())),
        (
            none,
            200,
            &[fresh, ("content-length", "200000")],
            Err(TooLarge),
        ),
        (authorized, 200, &[fresh], Err(Credentials)),
        (authorized, 200, &[cc("max-age=60, public")], Ok(())),
        (authorized, 200, &[cc("s-maxage=60")], Ok(())),
        (
            authorized,
            200,
            &[cc("max-age=60, must-revalidate")],
            Ok(()),
        ),
        (
            authorized,
            200,
            &[fresh, ("vary", "authorization")],
            Err(Credentials),
        ),
        (cookie, 200, &[fresh], Err(Credentials)),
        (cookie, 200, &[fresh, ("vary", "cookie")], Ok(())),
        (cookie, 200, &[cc("max-age=60, public")], Ok(())),
    ] {
        let cache = TestCache::new();
        let stored = cache.store(PAGE, &headers(request), status, &headers(response));
        assert_eq!(stored, expected, "{request:?} {status} {response:?}");
    }
}

/// RFC 6585; the key holds neither `Range` nor `If-Match`.
#[test]
fn responses_about_their_own_request_are_not_stored() {
    let fresh = headers(&[cc("max-age=60, public")]);
    for status in [412, 416, 417, 428, 429, 431, 511] {
        let stored = TestCache::new().store(PAGE, &HeaderMap::new(), status, &fresh);
        assert_eq!(stored, Err(NotStored::Status), "{status}");
    }
}

/// RFC 9213, section 2.2.
#[test]
fn an_empty_targeted_field_is_ignored() {
    for (targeted, expected) in [("", Err(NotStored::Forbidden)), ("max-age=60", Ok(()))] {
        let response = headers(&[cc("private"), ("cdn-cache-control", targeted), ETAG]);
        let stored = TestCache::new().store(PAGE, &HeaderMap::new(), 200, &response);
        assert_eq!(stored, expected, "{targeted}");
    }
}

/// RFC 9111, section 5.2.1.
#[test]
fn requests_state_what_they_accept() {
    let stored = [cc("max-age=60, stale-if-error=1000"), ETAG];
    let sealed = [cc("max-age=60, must-revalidate"), ETAG];
    for (request, after, expected) in [
        (cc("max-age=30"), 30, "hit"),
        (cc("max-age=30"), 31, "request"),
        (cc("max-age=0"), 0, "request"),
        (cc("no-cache"), 0, "request"),
        (("pragma", "no-cache"), 0, "request"),
        (cc("no-store"), 0, "bypass"),
        (cc("min-fresh=20"), 40, "hit"),
        (cc("min-fresh=20"), 41, "request"),
        (cc("max-stale=10"), 70, "stale"),
        (cc("max-stale=10"), 71, "validate"),
        (cc("max-stale"), 5_000, "stale"),
        (cc("only-if-cached"), 0, "hit"),
        (cc("only-if-cached"), 60, "not cached"),
        (cc("only-if-cached, max-stale=10"), 60, "stale"),
    ] {
        assert_eq!(
            reused(&stored, &[request], after),
            expected,
            "{request:?} {after}"
        );
    }
    assert_eq!(reused(&sealed, &[cc("max-stale")], 60), "validate");
}

#[test]
fn those_with_credentials_get_only_what_is_explicitly_public() {
    const UNDATED: (&str, &str) = ("last-modified", "Sun, 30 Oct 1994 08:49:37 GMT");
    for (response, request, expected) in [
        (UNDATED, ("accept", "a/b"), "hit"),
        (UNDATED, ("cookie", "a=b"), "vary-miss"),
        (cc("max-age=60"), ("cookie", "a=b"), "hit"),
        (cc("max-age=60"), ("authorization", "a"), "vary-miss"),
        (cc("max-age=60"), ("x-api-key", "a"), "vary-miss"),
        (cc("max-age=60"), ("api_key", "a"), "vary-miss"),
        (cc("max-age=60, public"), ("authorization", "a"), "hit"),
        (cc("max-age=60, public"), ("cookie", "a=b"), "hit"),
    ] {
        assert_eq!(reused(&[response], &[request], 0), expected, "{response:?}");
    }
}

#[test]
fn memory_is_bounded_whatever_varies() {
    let cache = TestCache::with(100_000, Scope::Route);
    let response = headers(&[cc("max-age=60"), ("vary", "foo")]);
    for number in 0..1_000 {
        let mut request = HeaderMap::new();
        request.insert("foo", HeaderValue::from(number));
        cache
            .store(PAGE, &request, 200, &response)
            .expect("storable");
        assert!(cache.0.bytes() <= 100_000);
    }
    let (bytes, entries) = cache.0.memory.counted_bytes();
    assert_eq!((bytes, entries), (cache.0.bytes(), 1));
    cache.0.remove_expired(NOW + seconds(59));
    assert!(cache.0.bytes() > 0);
    cache.0.remove_expired(NOW + seconds(60));
    assert_eq!(cache.0.bytes(), 0);
}
