//! What is right and should be known all the same.

use super::*;

fn sentences(loaded: LoadedConfig) -> Vec<String> {
    let warnings = loaded.warnings.iter();
    warnings.map(ToString::to_string).collect()
}

fn warnings_of(extra: &str) -> Vec<String> {
    sentences(valid(&format!("{LEAST}{extra}\n")))
}

#[test]
fn the_least_file_warns_of_nothing() {
    assert_eq!(warnings_of(""), Vec::<String>::new());
}

#[test]
fn the_contract_warns_of_each_key_that_is_not_built_yet() {
    let loaded = valid(FULL);
    let pending: Vec<&str> = loaded
        .warnings
        .iter()
        .filter(|warning| warning.contains("not in this version yet"))
        .map(|warning| &*warning.key)
        .collect();
    let expected = [
        "routes[0].rate_limits[1].shared",
        "routes[0].rate_limits[2].tokens",
        "routes[0].conversation",
    ];
    assert_eq!(pending, expected, "{:#?}", loaded.warnings);
    let others: Vec<&Warning> = loaded
        .warnings
        .iter()
        .filter(|w| !w.contains("not in this version"))
        .collect();
    assert_eq!(others.len(), 3, "three example secrets: {others:?}");
    assert!(others.iter().all(|warning| warning.contains("change-me")));
}

#[test]
fn a_warning_is_a_whole_sentence_with_key_and_line() {
    assert_eq!(
        warnings_of("admin: {token: change-me}"),
        [
            "`admin.token` (line 3) is the example secret `change-me`, which is public; set your own."
        ]
    );
}

#[test]
fn a_health_check_whose_timeout_exceeds_its_interval_is_warned_of() {
    let of = |check: &str| {
        sentences(valid(&format!(
            "backends: [{{name: a, endpoints: ['http://a'], health_check: {check}}}]\n\
             routes: [{{name: r, path: /r, backend: a}}]\n"
        )))
    };
    assert_eq!(of("{timeout: 5s}"), Vec::<String>::new());
    let [warning] = &of("{timeout: 6s}")[..] else {
        panic!("one warning");
    };
    assert!(warning.contains("health_check.timeout"), "{warning}");
    assert!(warning.contains("is longer than `interval`"), "{warning}");
}

/// Of a file whose one route has this cache.
fn warnings_with_redis(cache: &str, redis: &str) -> Vec<String> {
    sentences(valid(&format!(
        "backends: [{{name: a, endpoints: ['http://a']}}]\n\
         routes: [{{name: r, path: /r, backend: a{cache}}}]\n\
         redis: {{url: redis://h{redis}}}\n"
    )))
}

#[test]
fn a_long_timeout_of_redis_is_warned_of() {
    let of = |timeout: &str| warnings_with_redis(", cache: {}", &format!(", timeout: {timeout}"));
    assert_eq!(of("5s"), Vec::<String>::new());
    assert_eq!(
        of("5001ms"),
        [
            "`redis.timeout` (line 3) is longer than 5s: when Redis hangs, requests wait that long until it is known \
             to be down; the default is 100ms."
        ]
    );
}

#[test]
fn a_redis_that_no_cache_uses_is_warned_of() {
    assert_eq!(
        warnings_with_redis(", cache: {answers: true}", ""),
        Vec::<String>::new()
    );
    for unused in ["", ", cache: {http: true}", ", cache: {answers: false}"] {
        assert_eq!(
            warnings_with_redis(unused, ""),
            [
                "`redis` (line 3) has no effect: no route caches answers (`cache: {answers: true}`), and nothing else \
                 uses Redis."
            ],
            "{unused}"
        );
    }
}

#[test]
fn what_is_switched_off_is_not_warned_of() {
    let off = "events: {content: none, sample: 100%, spool: }\nalerts:\ntraces: {}\n";
    assert_eq!(warnings_of(off), Vec::<String>::new());
    let text = "\
backends: [{name: a, endpoints: ['http://a'], load_balancing: round_robin, fallback: '${NONE:-}'}]
routes:
  - name: r
    path: /r
    backend: a
    cache: {coalesce: false, http: false}
    conversation: {rounds: 0}
    rate_limits: [{name: x, rate: 1/s, shared: false}]
";
    assert!(valid(text).warnings.is_empty());
}

pub(super) fn routes(list: &[&str]) -> Vec<String> {
    let mut text = "backends: [{name: a, endpoints: ['http://a']}]\nroutes:\n".to_owned();
    for (position, route) in list.iter().enumerate() {
        text.push_str(&format!("  - {{name: r{position}, backend: a, {route}}}\n"));
    }
    sentences(valid(&text))
}

#[test]
fn a_route_that_no_request_reaches() {
    for hidden in [
        &["path: '/*'", "path: /a"][..],
        &["path: '/a*'", "path: '/ab*'"],
        &["path: /a", "path: /a"],
        &["path: /a", "path: /a, methods: [GET]"],
        &[
            "path: '/a/*', methods: [POST]",
            "path: /a/b, methods: [GET]",
        ],
        &[
            "path: /a, methods: [GET, POST]",
            "path: /a, methods: [POST]",
        ],
    ] {
        let warnings = routes(hidden);
        assert_eq!(warnings.len(), 1, "{hidden:?}: {warnings:?}");
        assert!(
            warnings[0].starts_with(
                "route `r1` (line 4) can never be reached: route `r0` (line 3) matches"
            )
        );
    }
    for open in [
        &["path: /a", "path: '/*'"][..],
        &["path: /a, methods: [GET]", "path: /a, methods: [POST]"],
        &["path: /a, methods: [GET]", "path: /a"],
        &["path: '/a/*'", "path: /a"],
        // Routes with the same path are distinguished by method, even behind a wider route.
        &[
            "path: /a, methods: [GET]",
            "path: '/*'",
            "path: /a, methods: [POST]",
        ],
    ] {
        assert_eq!(routes(open), Vec::<String>::new(), "{open:?}");
    }
    let two = routes(&[
        "path: /a, methods: [GET]",
        "path: /a, methods: [PUT]",
        "path: /a, methods: [GET, PUT]",
    ]);
    assert!(two.len() == 1 && two[0].contains("route `r2`"), "{two:?}");
}

#[test]
fn a_path_with_a_slash_that_is_rejected() {
    let text = |paths: &str| {
        format!(
            "backends: [{{name: a, endpoints: ['http://a']}}]\n{paths}\n\
             routes:\n  - {{name: r, backend: a, path: '/a%2Fb/*'}}\n  - {{name: s, backend: a, path: /b}}\n"
        )
    };
    for quiet in ["", "paths: {}", "paths: {encoded_slash: keep}"] {
        assert_eq!(valid(&text(quiet)).warnings.len(), 0, "{quiet}");
    }
    let expected = "`path` of route `r` (line 4) can never be reached: \
                `paths.encoded_slash` rejects paths with %2F.";
    let warnings = valid(&text("paths: {encoded_slash: reject}")).warnings;
    let warnings: Vec<&str> = warnings.iter().map(|warning| &**warning).collect();
    assert_eq!(warnings, [expected]);
}

#[test]
fn an_open_route_around_a_protected_one_with_the_same_backend() {
    const SIGNED: &str = "signature: {scheme: hmac, secrets: [a-secret-of-24-characters]}";
    const KEYED: &str = "signature: {scheme: bearer, secrets: [a-secret-of-24-characters]}";
    let chat = format!("path: /v1/chat, methods: [POST], {SIGNED}");
    let inside = "path: /v1/chat, allow: [10.0.0.0/8]";
    for exposed in [
        [&chat, "path: '/*'"],
        [&chat, "path: '/v1/*', methods: [POST, GET]"],
        [&chat, "path: '/v1/ch*', allow: [0.0.0.0/0, '::/0']"],
        [inside, "path: '/*', methods: [PUT]"],
        [&format!("path: '/v1/*', {SIGNED}"), "path: '/*'"],
    ] {
        let warnings = routes(&exposed);
        assert_eq!(warnings.len(), 1, "{exposed:?}: {warnings:?}");
        assert_eq!(
            warnings[0],
            "route `r1` (line 4) requires no signature and also covers the paths around the protected route `r0` \
             (line 3) on the same backend. If the backend treats such a path as the protected one and weir does \
             not, the request arrives unchecked. Add `signature` or `allow`, narrow the path, or use another backend."
        );
    }
    for quiet in [
        &[&*chat, &format!("path: '/*', {KEYED}")][..],
        &[&chat, "path: '/*', allow: [10.0.0.0/8]"],
        &[&chat, "path: '/*', methods: [GET]"],
        &[&chat, "path: '/static/*'"],
        &[&chat, "path: /v1/models"],
        &[&chat, "path: /v1/chat, methods: [GET]"],
        &["path: /health", &format!("path: '/*', {SIGNED}")],
        &["path: /v1/chat", "path: '/*'"],
    ] {
        assert_eq!(routes(quiet), Vec::<String>::new(), "{quiet:?}");
    }
    let two_backends = |other: &str| {
        let text = format!(
            "backends: [{{name: a, endpoints: ['http://a', 'http://b']}}, {{name: o, {other}}}]\n\
             routes:\n  - {{name: r, backend: a, {chat}}}\n  - {{name: s, backend: o, path: '/*'}}\n"
        );
        valid(&text).warnings.len()
    };
    assert_eq!(two_backends("endpoints: ['http://c']"), 0);
    assert_eq!(two_backends("endpoints: ['http://b']"), 1);
    assert_eq!(two_backends("endpoints: ['http://b'], path_prefix: /x"), 0);
    // What is /v1/chat here is /chat on a backend with a prefix; whichever comes first.
    let prefixed = |first: &str, second: &str| {
        let text = format!(
            "backends: [{{name: a, endpoints: ['http://a'], path_prefix: /v1}}, {{name: o, endpoints: ['http://a']}}]\n\
             routes:\n  - {{name: r, {first}}}\n  - {{name: s, {second}}}\n"
        );
        valid(&text).warnings
    };
    let inner = format!("backend: a, path: /chat, {KEYED}");
    for outer in ["backend: o, path: '/v1/*'", "backend: o, path: /v1/chat"] {
        assert_eq!(prefixed(&inner, outer).len(), 1, "{outer}");
        assert_eq!(prefixed(outer, &inner).len(), 1, "{outer}");
    }
    let apart = prefixed(&inner, "backend: o, path: '/v2/*'");
    assert_eq!(apart.len(), 0);
}

#[track_caller]
fn assert_signature_warning(signature: &str, part: &str) {
    let warnings = routes(&[&format!("path: /a, signature: {signature}")]);
    assert_eq!(warnings.len(), 1, "{signature}: {warnings:?}");
    assert!(warnings[0].contains(part), "{warnings:?}");
    assert!(
        warnings[0].starts_with("`signature") && warnings[0].contains("` of route `r0`"),
        "{warnings:?}"
    );
    assert!(
        warnings[0].contains("(line 3)") && warnings[0].ends_with('.'),
        "{warnings:?}"
    );
}

#[test]
fn schemes_that_cover_too_little() {
    for (signature, part) in [
        (
            "{scheme: simple_sha256, secrets: [a-secret-of-24-characters]}",
            "does not cover the body",
        ),
        (
            "{scheme: hmac, secrets: [a-secret-of-24-characters], signed: '{timestamp}.{id}'}",
            "lacks {body}",
        ),
        (
            "{scheme: hmac, secrets: [a-secret-of-24-characters], signed: '{body}'}",
            "lacks {timestamp}",
        ),
        (
            "{scheme: hmac, secrets: [a-secret-of-24-characters], replay: 1m}",
            "leaves a replay gap",
        ),
        (
            "{scheme: hmac, secrets: [a-secret-of-24-characters], tolerance: 1h}",
            "leaves a replay gap",
        ),
        (
            "{scheme: hmac, secrets: [change-me]}",
            "example secret `change-me`",
        ),
    ] {
        assert_signature_warning(signature, part);
    }
}

#[test]
fn secrets_and_replay_settings_that_protect_too_little() {
    for (signature, part) in [
        (
            "{scheme: hmac, secrets: [fifteen-letters]}",
            "is shorter than 16 characters",
        ),
        (
            "{scheme: bearer, clients: [{name: a, secrets: [fifteen-letters]}]}",
            "is shorter than 16 characters",
        ),
        (
            "{scheme: feishu, secrets: [fifteen-letters]}",
            "is shorter than 16 characters",
        ),
        (
            "{scheme: hmac, secrets: [a-secret-of-24-characters], replay: 0s}",
            "switches replay protection off",
        ),
        (
            "{scheme: bearer, clients: [{name: a, secrets: [a-secret-of-24-characters]}, {name: b, secrets: [another-of-22-characters, a-secret-of-24-characters]}]}",
            "gives the clients `a` and `b` the same secret",
        ),
        (
            "[{scheme: hmac, clients: [{name: a, secrets: [a-secret-of-24-characters]}]}, {scheme: bearer, clients: [{name: b, secrets: [a-secret-of-24-characters]}]}]",
            "gives the clients `a` and `b` the same secret",
        ),
        (
            "{scheme: bearer, secrets: [a-secret-of-24-characters], replay: 1m}",
            "has no effect",
        ),
    ] {
        assert_signature_warning(signature, part);
    }
    for quiet in [
        "{scheme: hmac, secrets: [sixteen-letters-], tolerance: 5m, replay: 10m}",
        "[{scheme: hmac, clients: [{name: a, secrets: [a-secret-of-24-characters]}]}, {scheme: bearer, clients: [{name: a, secrets: [a-secret-of-24-characters]}]}]",
    ] {
        let route = format!("path: /a, signature: {quiet}");
        assert_eq!(routes(&[&route]), Vec::<String>::new());
    }
}

#[test]
fn what_tells_of_an_export_needs_one() {
    for (text, key) in [
        ("traces: {sample: 50%}", "sample"),
        ("traces: {headers: {x-key: secret}}", "headers"),
    ] {
        assert_eq!(
            warnings_of(text),
            [format!(
                "`traces.{key}` (line 3) has no effect without `otlp`: nothing is exported."
            )]
        );
    }
    let given = "traces: {otlp: 'http://127.0.0.1:4318', sample: 50%, headers: {x-key: secret}}";
    assert_eq!(warnings_of(given), Vec::<String>::new());
}
