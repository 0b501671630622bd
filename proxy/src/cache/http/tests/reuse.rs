//! Which stored responses serve a request, how they are updated, and what removes them.

use super::*;

/// RFC 9111, section 4.1.
#[test]
fn a_request_selects_a_response_by_vary() {
    let stored = |vary, first: Lines<'_>, then: Lines<'_>| {
        let cache = TestCache::new();
        let response = headers(&[cc("max-age=60"), ("vary", vary)]);
        let stored = cache.store(PAGE, &headers(first), 200, &response);
        stored.expect("storable");
        found(&cache.look_up(PAGE, &headers(then), NOW))
    };
    let foo = |value| ("foo", value);
    let language = |value| ("accept-language", value);
    for (vary, first, then, expected) in [
        ("foo", &[foo("1")][..], &[foo("1")][..], "hit"),
        ("Foo", &[foo("1")], &[foo("2")], "vary-miss"),
        ("foo", &[foo("1")], &[], "vary-miss"),
        ("foo", &[], &[foo("")], "vary-miss"),
        ("foo", &[foo("1, 2")], &[foo("1"), foo("2")], "hit"),
        ("foo", &[foo("1,2")], &[foo(" 1 ,\t2")], "hit"),
        ("foo", &[foo("a")], &[foo("A")], "vary-miss"),
        ("foo", &[foo("1, 2")], &[foo("2, 1")], "vary-miss"),
        // The backend has not seen it.
        (
            "foo",
            &[foo("1"), ("connection", "close, Foo")],
            &[foo("1")],
            "vary-miss",
        ),
        ("foo", &[foo("1"), ("connection", "close, Foo")], &[], "hit"),
        (
            "foo, bar",
            &[foo("1")],
            &[foo("1"), ("bar", "1")],
            "vary-miss",
        ),
        (
            "accept-language",
            &[language("en, De")],
            &[language("de,en")],
            "hit",
        ),
        (
            "accept-language",
            &[language("en;q=1")],
            &[language("en; q=1")],
            "hit",
        ),
        (
            "accept-encoding",
            &[("accept-encoding", "gzip")],
            &[],
            "vary-miss",
        ),
    ] {
        assert_eq!(
            stored(vary, first, then),
            expected,
            "{vary} {first:?} {then:?}"
        );
    }
}

#[test]
fn a_long_value_selects_a_response_as_it_is() {
    for (members, expected) in [(100, "hit"), (1_000, "vary-miss")] {
        let (mut first, mut then) = (HeaderMap::new(), HeaderMap::new());
        for (request, lists) in [(&mut first, ["a,", "b,"]), (&mut then, ["b,", "a,"])] {
            let value = lists.map(|list| list.repeat(members)).concat();
            let value = HeaderValue::from_str(&value).expect("a value");
            request.insert("accept-language", value);
        }
        let cache = TestCache::new();
        let response = headers(&[cc("max-age=60"), ("vary", "accept-language")]);
        let stored = cache.store(PAGE, &first, 200, &response);
        stored.expect("storable");
        assert_eq!(found(&cache.look_up(PAGE, &first, NOW)), "hit");
        assert_eq!(found(&cache.look_up(PAGE, &then, NOW)), expected);
    }
}

#[test]
fn no_two_resources_share_a_key() {
    let name = PAGE;
    let names = [
        name,
        ResourceName {
            scheme: "https",
            ..name
        },
        ResourceName {
            host: b"b.test",
            ..name
        },
        ResourceName {
            path: "/pag",
            query: "e",
            ..name
        },
        ResourceName {
            path: "/page",
            query: "a=b",
            ..name
        },
        ResourceName {
            host: b"a.test/",
            path: "page",
            ..name
        },
    ];
    for (position, one) in names.iter().enumerate() {
        for other in &names[position + 1..] {
            assert_ne!(key_of(one, Scope::Route), key_of(other, Scope::Route));
        }
    }
    let upper = ResourceName {
        host: b"A.Test",
        ..name
    };
    assert_eq!(key_of(&name, Scope::Route), key_of(&upper, Scope::Route));
    for (header, expected) in [
        (("x-http-method-override", "POST"), "miss"),
        (("x-original-url", "/other"), "miss"),
        (("x-forwarded-port", "1"), "miss"),
        (("x_http_method_override", "POST"), "miss"),
        (("x-requested-with", "a"), "hit"),
    ] {
        let cache = TestCache::new();
        let stored = cache.store(name, &HeaderMap::new(), 200, &headers(&[cc("max-age=60")]));
        stored.expect("storable");
        let lookup = cache.look_up(name, &headers(&[header]), NOW);
        assert_eq!(found(&lookup), expected, "{header:?}");
    }
    let client = ResourceName {
        client: "web",
        ..name
    };
    assert_ne!(key_of(&name, Scope::Client), key_of(&client, Scope::Client));
    assert_eq!(key_of(&name, Scope::Route), key_of(&client, Scope::Route));
}

/// RFC 9111, sections 3.2 and 4.3.4.
#[test]
fn a_304_updates_what_it_is_about() {
    let cache = TestCache::new();
    let first = headers(&[
        cc("max-age=60"),
        ETAG,
        ("date", DATE),
        ("x-a", "1"),
        ("content-type", "text/plain"),
        ("content-digest", "sha-256=:1:"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
    ]);
    cache
        .store(PAGE, &HeaderMap::new(), 200, &first)
        .expect("storable");
    let at = NOW + seconds(100);
    let times = ReceiptTimes {
        asked_at: at,
        received_at: at,
    };
    let key = key_of(&PAGE, Scope::Route);
    let HttpLookup::Forward(_, _, Some(stored)) = cache.look_up(PAGE, &HeaderMap::new(), at) else {
        panic!("it is stale");
    };
    let not_modified = headers(&[
        ETAG,
        cc("max-age=30"),
        ("x-a", "2"),
        ("x-b", "3"),
        ("content-length", "99"),
        ("content-type", "text/html"),
        ("content-digest", "sha-256=:2:"),
        ("date", "Sun, 06 Nov 1994 08:51:17 GMT"),
    ]);
    let updated = cache.0.freshen(&key, &stored, &not_modified, times);
    let lines = std::str::from_utf8(updated.head_lines()).expect("text");
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    let expected = [
        "cache-control: max-age=30",
        "content-digest: sha-256=:1:",
        "content-type: text/html",
        "date: Sun, 06 Nov 1994 08:51:17 GMT",
        "etag: \"a\"",
        "x-a: 2",
        "x-b: 3",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        found(&cache.look_up(PAGE, &HeaderMap::new(), at + seconds(29))),
        "hit"
    );
    let HttpLookup::Hit(_, stored, _) = cache.look_up(PAGE, &HeaderMap::new(), at) else {
        panic!("it is fresh");
    };
    let other = headers(&[("etag", "\"b\"")]);
    let served = cache.0.freshen(&key, &stored, &other, times);
    assert!(
        Arc::ptr_eq(&served, &stored),
        "the 304 is about another response"
    );
    assert_eq!(found(&cache.look_up(PAGE, &HeaderMap::new(), at)), "miss");
}

/// Stores the page with an `ETag`, and updates it by `not_modified` after 100 seconds.
fn updated_by(cache: &TestCache, not_modified: Lines<'_>) -> Arc<StoredVariant> {
    let times = ReceiptTimes {
        asked_at: NOW + seconds(100),
        received_at: NOW + seconds(100),
    };
    let HttpLookup::Forward(request_key, _, Some(stored)) =
        cache.look_up(PAGE, &HeaderMap::new(), times.received_at)
    else {
        panic!("it is stale");
    };
    let not_modified = headers(not_modified);
    cache
        .0
        .freshen(&request_key.key, &stored, &not_modified, times)
}

#[test]
fn a_304_is_dated_and_selects_no_more_requests_than_before() {
    let none = HeaderMap::new();
    for (not_modified, expected) in [
        (&[ETAG, cc("max-age=60")][..], "hit"),
        (&[ETAG, cc("max-age=60"), ("date", DATE)], "validate"),
        (&[ETAG, cc("max-age=60"), ("vary", "host")], "hit"),
        (&[ETAG, cc("max-age=60"), ("vary", "foo")], "miss"),
        (&[ETAG, cc("max-age=60"), ("vary", "*")], "miss"),
        (&[ETAG, cc("private")], "miss"),
    ] {
        let cache = TestCache::new();
        let stored = cache.store(PAGE, &none, 200, &headers(&[cc("max-age=60"), ETAG]));
        stored.expect("storable");
        let _ = updated_by(&cache, not_modified);
        let then = cache.look_up(PAGE, &none, NOW + seconds(159));
        assert_eq!(found(&then), expected, "{not_modified:?}");
    }
}

#[test]
fn a_late_304_does_not_bring_back_what_has_been_replaced() {
    let (cache, none) = (TestCache::new(), HeaderMap::new());
    let old = headers(&[cc("max-age=60"), ETAG]);
    cache.store(PAGE, &none, 200, &old).expect("storable");
    let at = NOW + seconds(100);
    let HttpLookup::Forward(request_key, _, Some(stored)) = cache.look_up(PAGE, &none, at) else {
        panic!("it is stale");
    };
    cache.0.invalidate(&request_key.key);
    let new = headers(&[cc("max-age=600"), ("etag", "\"b\"")]);
    cache.store(PAGE, &none, 200, &new).expect("storable");
    let times = ReceiptTimes {
        asked_at: at,
        received_at: at,
    };
    let served = cache.0.freshen(&request_key.key, &stored, &old, times);
    assert_eq!(served.validators().etag, stored.validators().etag);
    let HttpLookup::Hit(_, kept, HitKind::Fresh) = cache.look_up(PAGE, &none, at) else {
        panic!("it is fresh");
    };
    assert_eq!(kept.validators().etag, new.get("etag").cloned());
}

/// RFC 9111, section 4.4.
#[test]
fn unsafe_methods_invalidate_the_uris_of_their_host() {
    let path = |path| ResourceName { path, ..PAGE };
    for (status, response, gone) in [
        (200, &[][..], &["/page"][..]),
        (302, &[], &["/page"]),
        (404, &[], &[]),
        (500, &[], &[]),
        (201, &[("location", "/new")], &["/page", "/new"]),
        (201, &[("content-location", "new#top")], &["/page", "/new"]),
        (
            201,
            &[("location", "http://A.test/new")],
            &["/page", "/new"],
        ),
        (
            201,
            &[("location", "//a.test/x/../new")],
            &["/page", "/new"],
        ),
        (201, &[("location", "http://b.test/new")], &["/page"]),
    ] {
        let cache = TestCache::new();
        for name in ["/page", "/new", "/other"] {
            let fresh = headers(&[cc("max-age=60")]);
            cache
                .store(path(name), &HeaderMap::new(), 200, &fresh)
                .expect("storable");
        }
        cache.invalidate_after(&HeaderMap::new(), status, &headers(response));
        for name in ["/page", "/new", "/other"] {
            let expected = if gone.contains(&name) { "miss" } else { "hit" };
            let lookup = cache.look_up(path(name), &HeaderMap::new(), NOW);
            assert_eq!(found(&lookup), expected, "{status} {response:?} {name}");
        }
    }
    // Load balancers add headers that are part of the key.
    let cache = TestCache::new();
    let forwarded = ("x-forwarded-port", "443");
    let get = headers(&[forwarded]);
    let stored = cache.store(PAGE, &get, 200, &headers(&[cc("max-age=60")]));
    stored.expect("storable");
    let post = headers(&[forwarded, ("x-http-method-override", "PUT")]);
    cache.invalidate_after(&post, 200, &HeaderMap::new());
    assert_eq!(found(&cache.look_up(PAGE, &get, NOW)), "miss");
}

/// RFC 9110, sections 13.1 and 14.2.
#[test]
fn conditions_and_ranges_are_answered_from_the_cache() {
    let modified = "Sun, 06 Nov 1994 08:00:00 GMT";
    let response: Lines<'_> = &[
        cc("max-age=60"),
        ETAG,
        ("date", DATE),
        ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
    ];
    let cache = TestCache::new();
    cache
        .store(PAGE, &HeaderMap::new(), 200, &headers(response))
        .expect("storable");
    let HttpLookup::Hit(_, stored, _) = cache.look_up(PAGE, &HeaderMap::new(), NOW) else {
        panic!("it is fresh");
    };
    let inm = |value| ("if-none-match", value);
    let range = ("range", "bytes=1-2");
    for (request, expected) in [
        (&[inm("\"a\"")][..], 304),
        (&[inm("\"x,\", W/\"a\"")], 304),
        (&[inm("\"x\""), inm("\"a\"")], 304),
        (&[inm("*")], 304),
        (&[inm("\"A\"")], 200),
        (&[inm("\"b\""), ("if-modified-since", DATE)], 200),
        (&[("if-modified-since", DATE)], 304),
        (&[("if-modified-since", modified)], 304),
        (
            &[("if-modified-since", "Sun, 06 Nov 1994 07:59:59 GMT")],
            200,
        ),
        (&[("if-modified-since", "yesterday")], 200),
        (&[range], 206),
        (&[range, inm("\"a\"")], 304),
        (&[range, ("if-range", "\"a\"")], 206),
        (&[range, ("if-range", "W/\"a\"")], 200),
        (&[range, ("if-range", modified)], 206),
        (&[range, ("if-range", DATE)], 200),
        (&[("range", "bytes=4-")], 416),
    ] {
        let served = match ServedAs::of(&headers(request), &stored, &Method::GET) {
            ServedAs::Whole => 200,
            ServedAs::Part(part) => {
                assert_eq!(part, 1..3);
                206
            }
            ServedAs::NotModified(_) => 304,
            ServedAs::RangeNotSatisfiable => 416,
        };
        assert_eq!(served, expected, "{request:?}");
    }
    let head = ServedAs::of(&headers(&[range]), &stored, &Method::HEAD);
    assert_eq!(head, ServedAs::Whole, "only GET has ranges");
}
