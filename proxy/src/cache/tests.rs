use ::http::{HeaderMap, HeaderValue, Method, header};

use super::*;
use crate::clock;
use crate::model::json::IgnoreAll;
use crate::model::operation::Operation;

mod canonical;
mod copies;
mod ignore;
mod key;
mod purge;
mod visit;

const NOW: Duration = Duration::from_secs(1_790_000_000);
const SECOND: Duration = Duration::from_secs(1);
const BODY: &[u8] = br#"{"model":"glm-4","messages":[{"role":"user","content":"Why?"}]}"#;

fn config() -> Config {
    Config {
        memory_bytes: 1 << 20,
        ttl: Duration::from_secs(60),
        scope: Scope::Client,
        ignore_headers: Vec::new(),
        ignore: Vec::new(),
        unless: unless::Unless::default(),
        coalescing: Coalescing::Enabled,
    }
}

fn cache(memory_bytes: u64, scope: Scope) -> ResponseCache {
    ResponseCache::new(&Config {
        memory_bytes,
        scope,
        ignore_headers: vec![HeaderName::from_static("x-ignored")],
        ..config()
    })
}

/// A request of which every part can be changed.
#[derive(Clone)]
struct TestRequest {
    method: Method,
    path: &'static str,
    query: &'static str,
    host: &'static [u8],
    headers: HeaderMap,
    body: &'static [u8],
    client: &'static str,
    stripped: &'static [HeaderName],
    path_match: PathMatch,
}

impl TestRequest {
    fn new() -> Self {
        TestRequest {
            method: Method::POST,
            path: "/v1/chat/completions",
            query: "",
            host: b"weir.test",
            headers: HeaderMap::new(),
            body: BODY,
            client: "web",
            stripped: &[],
            path_match: PathMatch::Wildcard,
        }
    }

    fn with_header(name: &'static str, value: &'static str) -> Self {
        let mut request = TestRequest::new();
        request
            .headers
            .append(name, HeaderValue::from_static(value));
        request
    }

    fn decision(&self, scope: Scope) -> CacheDecision {
        let request = CacheRequest {
            method: &self.method,
            path: self.path,
            query: self.query,
            host: self.host,
            headers: &self.headers,
            body: self.body,
            client: self.client,
            is_forwarded: &|name| !self.stripped.contains(name),
            operation: Operation::of(self.path),
            path_match: self.path_match,
        };
        cache(1 << 20, scope).decide(&request, &mut IgnoreAll)
    }

    fn key(&self, scope: Scope) -> CacheKey {
        match self.decision(scope) {
            CacheDecision::Lookup(key) | CacheDecision::Refresh(key) => key,
            CacheDecision::Bypass(reason) => panic!("bypassed: {reason:?}"),
        }
    }
}

fn stored(body_bytes: usize) -> CachedResponse {
    let mut headers = HeaderMap::new();
    let kind = HeaderValue::from_static("application/json");
    headers.append(header::CONTENT_TYPE, kind);
    let mut copy = copy::CopyBuffer::new(200, &headers, usize::MAX);
    copy.push(vec![b'x'; body_bytes]);
    copy.finish(NOW).expect("no bound")
}

fn numbered(number: u32) -> CacheKey {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    CacheKey(key)
}

#[test]
fn request_directives_are_followed() {
    for (name, value, expected) in [
        ("cache-control", "no-store", "bypass"),
        ("cache-control", "no-cache, NO-STORE", "bypass"),
        ("cache-control", "No-Cache", "refresh"),
        ("cache-control", "max-age=0", "refresh"),
        ("cache-control", "max-age=10", "full"),
        ("cache-control", "no-stores", "full"),
        ("cache-control", "", "full"),
        ("pragma", "no-cache", "refresh"),
        ("pragma", "x", "full"),
        ("range", "bytes=0-1", "bypass"),
        ("content-encoding", "gzip", "bypass"),
        ("content-encoding", "identity", "full"),
    ] {
        let decision = match TestRequest::with_header(name, value).decision(Scope::Client) {
            CacheDecision::Lookup(_) => "full",
            CacheDecision::Refresh(_) => "refresh",
            CacheDecision::Bypass(_) => "bypass",
        };
        assert_eq!(decision, expected, "{name}: {value}");
    }
    let mut both = TestRequest::with_header("pragma", "no-cache");
    both.headers
        .append("cache-control", HeaderValue::from_static("max-age=5"));
    assert!(matches!(
        both.decision(Scope::Client),
        CacheDecision::Lookup(_)
    ));
    let fresh = TestRequest::with_header("cache-control", "no-cache").key(Scope::Client);
    assert_eq!(
        fresh,
        TestRequest::new().key(Scope::Client),
        "it replaces the stored one"
    );
}

#[test]
fn only_posted_json_objects_are_looked_up() {
    for method in [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ] {
        let request = TestRequest {
            method,
            ..TestRequest::new()
        };
        let bypass = CacheDecision::Bypass(BypassReason::Method);
        assert_eq!(request.decision(Scope::Client), bypass);
    }
    for body in [
        &b""[..],
        b"hello",
        b"[1]",
        b"{\"a\":1",
        b"{\"a\":1,\"a\":2}",
        b"\xff",
    ] {
        let request = TestRequest {
            body,
            ..TestRequest::new()
        };
        let bypass = CacheDecision::Bypass(BypassReason::Body);
        assert_eq!(request.decision(Scope::Client), bypass);
    }
}

#[test]
fn a_response_is_found_until_it_is_stale() {
    let cache = cache(1 << 20, Scope::Client);
    let key = numbered(1);
    assert!(cache.look_up(&key, NOW).is_none());
    cache.store(key, stored(100), clock::now());
    let hit = cache.look_up(&key, NOW + 59 * SECOND).expect("a hit");
    assert_eq!(hit.response.age_s(NOW + Duration::from_millis(59_999)), 59);
    assert_eq!(*hit.response, stored(100));
    assert_eq!(
        hit.response.age_s(NOW - SECOND),
        0,
        "the clock was set back"
    );
    assert!(cache.look_up(&key, NOW - SECOND).is_some());
    assert!(cache.look_up(&key, NOW + 60 * SECOND).is_none());
    assert!(cache.look_up(&numbered(2), NOW).is_none());
}

/// A copy of a response with these header lines, whose head arrived at [`NOW`].
fn copied(
    cache: &ResponseCache,
    lines: &[(&'static str, &'static str)],
) -> Result<CachedResponse, NotStorable> {
    let kind = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let mut copy = cache.copy(200, &headers, &[], NOW)?;
    copy.push("{}");
    Ok(copy.finish(NOW + 2 * SECOND).expect("still fresh"))
}

#[test]
fn a_backend_bounds_the_lifetime_of_its_response() {
    // The configured TTL is 60 s; the response took 2 s to arrive.
    for (line, age, last) in [
        (("server", "x"), 2, 59),
        (("cache-control", "max-age=30"), 2, 27),
        (("cache-control", "max-age=3600"), 2, 59),
        (("age", "20"), 22, 39),
        (("age", "nonsense"), 2, 59),
    ] {
        let cache = cache(1 << 20, Scope::Client);
        let stored = copied(&cache, &[line]).expect("storable");
        let at = |seconds: u32| NOW + 2 * SECOND + seconds * SECOND;
        assert_eq!(stored.age_s(at(0)), age, "{line:?}");
        assert_eq!(stored.age_s(at(5)), age + 5, "{line:?}");
        cache.store(numbered(1), stored, clock::now());
        assert!(cache.look_up(&numbered(1), at(last)).is_some(), "{line:?}");
        assert!(
            cache.look_up(&numbered(1), at(last + 1)).is_none(),
            "{line:?}"
        );
        cache.remove_expired(at(last));
        assert!(cache.bytes() > 0, "{line:?}");
        cache.remove_expired(at(last + 1));
        assert_eq!(cache.bytes(), 0, "{line:?}");
    }
    for line in [
        ("cache-control", "max-age=0"),
        ("cache-control", "max-age=soon"),
        ("expires", "0"),
        ("age", "60"),
    ] {
        let cache = cache(1 << 20, Scope::Client);
        assert_eq!(copied(&cache, &[line]), Err(NotStorable::Stale), "{line:?}");
    }
}

#[test]
fn a_response_that_is_stale_when_complete_is_not_stored() {
    let cache = cache(1 << 20, Scope::Client);
    let kind = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    headers.append("cache-control", HeaderValue::from_static("max-age=5"));
    let copy = |coming: u32| {
        let copy = cache.copy(200, &headers, &[], NOW).expect("fresh");
        copy.finish(NOW + coming * SECOND)
    };
    assert!(copy(4).is_some());
    assert!(copy(5).is_none());
}

#[test]
fn memory_is_bounded_by_bytes_at_every_moment() {
    let memory = 1_000_000;
    let cache = cache(memory, Scope::Client);
    assert_eq!(cache.response_bytes_max(), 125_000);
    for number in 0..2_000 {
        cache.store(numbered(number), stored(100_000), clock::now());
        let (held, _) = cache.memory.counted_bytes();
        assert!(held <= memory, "{held} bytes after {number}");
        assert_eq!(held, cache.bytes());
    }
    let full = cache.bytes();
    assert!(full <= memory && full > memory / 2, "{full}");
    for number in 0..20_000 {
        cache.store(numbered(number), stored(10), clock::now());
    }
    let (held, entries) = cache.memory.counted_bytes();
    assert_eq!(held, cache.bytes());
    assert!(held <= memory && held > memory - 1_000, "{held}");
    assert!(entries < 1_000_000 / ENTRY_OVERHEAD);
}

#[test]
fn the_least_recently_used_response_is_evicted_first() {
    let cache = cache(10_000, Scope::Client);
    for number in 1..=3 {
        cache.store(numbered(number), stored(2_300), clock::now());
    }
    assert!(cache.look_up(&numbered(1), NOW).is_some());
    assert!(cache.bytes() > 7_500);
    cache.store(numbered(4), stored(2_300), clock::now());
    let known: Vec<u32> = (1..=4)
        .filter(|number| cache.look_up(&numbered(*number), NOW).is_some())
        .collect();
    assert_eq!(known, [1, 3, 4]);
}

#[test]
fn a_response_larger_than_the_memory_is_not_stored() {
    let cache = cache(10_000, Scope::Client);
    cache.store(numbered(1), stored(10_000), clock::now());
    assert!(cache.look_up(&numbered(1), NOW).is_none());
    let none = self::cache(0, Scope::Client);
    none.store(numbered(1), stored(0), clock::now());
    assert!(none.look_up(&numbered(1), NOW).is_none());
}

#[test]
fn a_response_that_may_be_copied_fits_into_the_memory() {
    for memory in [0, 2_559, 2_600, 4_000, 10_000] {
        let cache = cache(memory, Scope::Client);
        let Ok(stored) = copied(&cache, &[]) else {
            assert!(memory < 4_000, "{memory}");
            continue;
        };
        cache.store(numbered(1), stored, clock::now());
        assert!(cache.look_up(&numbered(1), NOW).is_some(), "{memory}");
    }
}

#[test]
fn the_largest_ttl_does_not_overflow() {
    let cache = ResponseCache::new(&Config {
        ttl: Duration::MAX,
        ..config()
    });
    cache.store(numbered(1), stored(1), clock::now());
    assert!(cache.look_up(&numbered(1), NOW).is_some());
}

#[test]
fn a_key_is_stored_once() {
    let cache = cache(1 << 20, Scope::Client);
    cache.store(numbered(1), stored(5_000), clock::now());
    cache.store(numbered(1), stored(100), clock::now());
    assert_eq!(cache.memory.counted_bytes(), (cache.bytes(), 1));
    let hit = cache.look_up(&numbered(1), NOW).expect("a hit");
    assert_eq!(*hit.response, stored(100));
}

#[test]
fn expired_responses_leave_the_memory() {
    let cache = cache(1 << 20, Scope::Client);
    for number in 0..10 {
        let mut stored = stored(100);
        stored.stored_at += u32::from(number >= 5) * 30 * SECOND;
        cache.store(numbered(number), stored, clock::now());
    }
    cache.remove_expired(NOW + 59 * SECOND);
    assert_eq!(cache.memory.counted_bytes().1, 10);
    cache.remove_expired(NOW + 60 * SECOND);
    assert_eq!(cache.memory.counted_bytes().1, 5);
    cache.remove_expired(NOW + 90 * SECOND);
    assert_eq!(cache.memory.counted_bytes(), (0, 0));
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn every_status_has_its_header_value() {
    assert_eq!(
        status::CacheStatus::Hit.header(),
        "weir; hit; detail=memory"
    );
    assert_eq!(status::CacheStatus::Miss.header(), "weir; fwd=miss");
    assert_eq!(
        status::CacheStatus::MissStored.header(),
        "weir; fwd=miss; stored"
    );
    assert_eq!(status::CacheStatus::Bypass.header(), "weir; fwd=bypass");
    assert_eq!(status::CacheStatus::Refresh.header(), "weir; fwd=request");
}
