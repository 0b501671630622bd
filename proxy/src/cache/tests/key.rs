//! Which requests have the same key.

use super::*;

#[test]
fn the_same_request_has_the_same_key() {
    static STRIPPED: [HeaderName; 1] = [HeaderName::from_static("x-weir-signature")];
    let mut other = TestRequest::with_header("user-agent", "curl/8");
    other
        .headers
        .append("x-weir-signature", HeaderValue::from_static("v1=00"));
    other.stripped = &STRIPPED;
    other.body = br#" {"messages" : [ {"content":"\u0057hy?", "role":"user"} ], "model":"glm-4"} "#;
    assert_eq!(
        TestRequest::new().key(Scope::Client),
        other.key(Scope::Client)
    );
    other.client = "mobile";
    assert_ne!(
        TestRequest::new().key(Scope::Client),
        other.key(Scope::Client)
    );
    assert_eq!(
        TestRequest::new().key(Scope::Route),
        other.key(Scope::Route)
    );
}

#[test]
fn whatever_changes_a_response_changes_its_key() {
    let base = TestRequest::new();
    let mut changed = vec![base.clone(); 7];
    changed[5].host = b"weir.test:80";
    changed[6].host = b"";
    changed[0].path = "/v2/chat/completions";
    changed[1].query = "s";
    changed[2].path = "/v1/completions";
    changed[3].body =
        br#"{"model":"glm-4","messages":[{"role":"user","content":"Why?"}],"stream":true}"#;
    changed[4].body = br#"{"model":"glm-4","messages":[{"role":"user","content":"Why"}]}"#;
    changed.extend(
        [
            ("accept", "text/event-stream"),
            ("accept", "text/event-stream, application/json"),
            ("accept", "text/html"),
            ("accept", ""),
            ("accept-language", "text/event-stream"),
            ("content-type", "application/json"),
            ("content-type", "text/plain"),
            ("authorization", "Bearer a"),
            ("authorization", "Bearer b"),
            ("cookie", "a=b"),
            ("origin", "https://a.example"),
            ("openai-organization", "org"),
            ("x-litellm-api-key", "a"),
            ("x-litellm-api-key", "b"),
            ("x-goog-api-key", "a"),
            ("ocp-apim-subscription-key", "a"),
            ("apikey", "a"),
            ("x-tenant", "a"),
            ("x-tenant", ""),
            ("x-nobody-knows", "a"),
            ("x-nobody", "knows-a"),
        ]
        .map(|(name, value)| TestRequest::with_header(name, value)),
    );
    let mut twice = TestRequest::with_header("x-tenant", "a");
    twice
        .headers
        .append("x-tenant", HeaderValue::from_static("b"));
    changed.push(twice);
    let mut turned = TestRequest::with_header("x-tenant", "b");
    turned
        .headers
        .append("x-tenant", HeaderValue::from_static("a"));
    changed.push(turned);
    let mut keys: Vec<CacheKey> = changed
        .iter()
        .map(|request| request.key(Scope::Route))
        .collect();
    keys.push(base.key(Scope::Route));
    keys.push(base.key(Scope::Client));
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
}

#[test]
fn equivalent_requests_have_the_same_key() {
    let base = TestRequest::new().key(Scope::Route);
    for (name, value) in [
        ("accept", "*/*"),
        ("accept", "application/json"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-encoding", "identity;q=0"),
        ("user-agent", "curl/8"),
        ("x-stainless-retry-count", "1"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("date", "Sun, 29 Nov 2026 08:00:00 GMT"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("idempotency-key", "1"),
        ("x-ignored", "a"),
    ] {
        assert_eq!(
            TestRequest::with_header(name, value).key(Scope::Route),
            base,
            "{name}: {value}"
        );
    }
    let json = TestRequest::with_header("content-type", "application/json").key(Scope::Route);
    for value in [
        "application/json; charset=utf-8",
        "Application/JSON;charset=\"UTF-8\"",
    ] {
        let request = TestRequest::with_header("content-type", value);
        assert_eq!(request.key(Scope::Route), json, "{value}");
    }
    let events = TestRequest::with_header("accept", "text/event-stream").key(Scope::Route);
    let request = TestRequest::with_header("accept", "text/event-stream, */*;q=0.1");
    assert_eq!(request.key(Scope::Route), events);
}

#[test]
fn the_order_of_headers_does_not_matter() {
    let lines = [
        ("x-tenant", "a"),
        ("x-region", "b"),
        ("authorization", "c"),
        ("x-tenant", "d"),
        ("cookie", "e"),
    ];
    let of = |order: &[usize]| {
        let mut request = TestRequest::new();
        for line in order {
            let (name, value) = lines[*line];
            request
                .headers
                .append(name, HeaderValue::from_static(value));
        }
        request.key(Scope::Route)
    };
    let key = of(&[0, 1, 2, 3, 4]);
    assert_eq!(of(&[4, 2, 1, 0, 3]), key);
    assert_eq!(of(&[0, 3, 4, 2, 1]), key);
    assert_ne!(
        of(&[3, 0, 4, 2, 1]),
        key,
        "the values of one name have their order"
    );
    let many = |turned: bool| {
        let mut request = TestRequest::new();
        let mut names: Vec<u32> = (0..200).collect();
        if turned {
            names.reverse();
        }
        for name in names {
            let name = HeaderName::try_from(format!("x-{name}")).expect("a name");
            request.headers.append(name, HeaderValue::from_static("a"));
        }
        request.key(Scope::Route)
    };
    assert_eq!(many(false), many(true));
}

#[test]
fn a_stripped_header_is_not_keyed() {
    static STRIPPED: [HeaderName; 1] = [header::AUTHORIZATION];
    let mut one = TestRequest::with_header("authorization", "Bearer one");
    let mut other = TestRequest::with_header("authorization", "Bearer other");
    assert_ne!(one.key(Scope::Route), other.key(Scope::Route));
    one.stripped = &STRIPPED;
    other.stripped = &STRIPPED;
    assert_eq!(one.key(Scope::Route), other.key(Scope::Route));
}

#[test]
fn parts_of_a_key_are_not_confused() {
    let (mut one, mut other) = (TestRequest::new(), TestRequest::new());
    (one.path, one.query) = ("/a", "b");
    (other.path, other.query) = ("/ab", "");
    (one.path_match, other.path_match) = (PathMatch::Exact, PathMatch::Exact);
    assert_ne!(one.key(Scope::Route), other.key(Scope::Route));
}

#[test]
fn calls_that_create_or_change_something_bypass_the_cache() {
    let is_cacheable = |path: &'static str, body: &'static [u8]| {
        let mut request = TestRequest::new();
        (request.path, request.body) = (path, body);
        request.decision(Scope::Route).key().is_some()
    };
    for (path, body, known) in [
        ("/v1/chat/completions", &br#"{"messages":[]}"#[..], true),
        (
            "/v1/chat/completions",
            br#"{"store":true,"messages":[]}"#,
            false,
        ),
        ("/v1/chat/completions", br#"{"\u0073tore":true}"#, false),
        (
            "/v1/chat/completions",
            br#"{"messages":[{"store":true}]}"#,
            true,
        ),
        (
            "/v1/chat/completions",
            br#"{"z":1,"store":true,"a":1}"#,
            false,
        ),
        ("/v1/responses", br#"{"input":"a"}"#, false),
        ("/v1/responses", br#"{"input":"a","store":false}"#, true),
        (
            "/v1/responses",
            br#"{"store" : false , "background":true}"#,
            false,
        ),
        (
            "/v1/responses",
            br#"{"store":false,"previous_response_id":"resp_1"}"#,
            false,
        ),
        (
            "/v1/responses",
            br#"{"store":false,"previous_response_id":null,"conversation":null}"#,
            true,
        ),
        (
            "/v1/responses",
            br#"{"store":false,"conversation":{"id":"conv_1"}}"#,
            false,
        ),
        ("/v1/files", b"{}", false),
        ("/v1/batches", b"{}", false),
        ("/v1/threads/t/messages", b"{}", false),
        ("/v1/images/generations", b"{}", false),
        ("/v1/audio/speech", b"{}", false),
        ("/v1/some_new_objects", b"{}", false),
        ("/v1/embeddings", br#"{"input":"a"}"#, true),
        ("/v1/messages", br#"{"messages":[]}"#, true),
    ] {
        assert_eq!(
            is_cacheable(path, body),
            known,
            "{path} {}",
            String::from_utf8_lossy(body)
        );
    }
    let mut path_match = TestRequest::new();
    path_match.path = "/ask";
    assert_eq!(path_match.decision(Scope::Route).key(), None);
    path_match.path_match = PathMatch::Exact;
    assert_ne!(path_match.decision(Scope::Route).key(), None);
}
