//! `routes[].cache`: the errors and warnings of its keys.

use super::single::{assert_reported, route_with, table};
use super::warnings::routes;

#[test]
fn in_the_cache_of_a_route() {
    let cases = r#"
cache: {answers: true, http: true} => 3:34 different kinds of cache
cache: {scope: everybody} => 3:20 one of `client`, `route`
cache: {ignore_headers: x-a} => 3:29 expected a list & a single value
cache: {ignore_headers: ['a b']} => 3:30 expected a header name such as X-Api-Key & `a b`
cache: {ignore_headers: ['']} => 3:30 a header name & an empty value
cache: {ignore_headers: ['*']} => 3:30 `*` is not supported for headers
cache: {ignore_headers: [x-a, x-b, X-A]} => 3:40 duplicate header & already used on line 3
cache: {ignore_headers: [Host]} => 3:30 the host is always part of the cache key
cache: {ignore_headers: [x-forwarded-host]} => 3:30 the host is always
cache: {ignore_header: [x-a]} => 3:13 did you mean `ignore_headers`?
cache: {ignore: /user} => 3:21 expected a list & a single value
cache: {ignore: [user]} => 3:22 begins with `/`
cache: {ignore: ['#/user']} => 3:22 remove the `#`
cache: {ignore: ['']} => 3:22 a JSON pointer such as /user & an empty value
cache: {ignore: [/a, '/a~2']} => 3:26 `~0` (a tilde) or `~1` (a slash)
cache: {ignore: [/a, /b/0, /a]} => 3:32 duplicate JSON pointer & already used on line 3
cache: {unless: {temperature_over: 0}} => 3:22 did you mean `temperature_above`?
cache: {unless: {temperature_above: hot}} => 3:41 a number from 0 to 100 such as 0.5 & `hot`
cache: {unless: {temperature_above: -1}} => 3:41 a number from 0 to 100
cache: {unless: {temperature_above: 101}} => 3:41 a number from 0 to 100
cache: {unless: {temperature_above: inf}} => 3:41 a number from 0 to 100
cache: {unless: {tools: some}} => 3:29 expected true or false
cache: {unless: [tools]} => 3:21 expected a mapping
"#;
    for (extra, line, column, parts) in table(cases) {
        assert_reported(&route_with(&extra), line, column, &parts);
    }
}

/// The keys of a route, and its warnings: the key of each, and a part of the sentence.
const WARNED: [(&str, &[(&str, &str)]); 37] = [
    (
        "cache: {ignore_headers: [x-session, Authorization]}",
        &[(
            "ignore_headers[1]",
            "removes `authorization` from the cache key: a response to one credential is",
        )],
    ),
    (
        "cache: {ignore_headers: [cookie]}",
        &[("ignore_headers[0]", "`cookie`")],
    ),
    (
        "cache: {ignore_headers: [x-api-key]}",
        &[("ignore_headers[0]", "`x-api-key`")],
    ),
    (
        "cache: {ignore_headers: [apikey]}",
        &[("ignore_headers[0]", "`apikey`")],
    ),
    (
        "cache: {ignore_headers: [x_secret]}",
        &[("ignore_headers[0]", "`x_secret`")],
    ),
    (
        "cache: {ignore_headers: [x-litellm-api-key, x-auth-token]}",
        &[
            ("ignore_headers[0]", "x-litellm"),
            ("ignore_headers[1]", "x-auth-token"),
        ],
    ),
    (
        "cache: {ignore_headers: [x-a, User-Agent, idempotency-key]}",
        &[
            (
                "ignore_headers[1]",
                "has no effect: `user-agent` is never part of the cache key; remove it",
            ),
            ("ignore_headers[2]", "has no effect: `idempotency-key`"),
        ],
    ),
    (
        "signature: {scheme: bearer, clients: [{name: a, secrets: [the-long-secret-of-a]}]}, cache: {ignore_headers: [authorization, x-api-key]}",
        &[
            (
                "ignore_headers[0]",
                "has no effect: the signature verifies `authorization`",
            ),
            (
                "ignore_headers[1]",
                "has no effect: the signature verifies `x-api-key`",
            ),
        ],
    ),
    (
        "signature: {scheme: bearer, clients: [{name: a, secrets: [the-long-secret-of-a]}]}, cache: {ignore_headers: [x-goog-api-key]}",
        &[("ignore_headers[0]", "removes `x-goog-api-key`")],
    ),
    (
        "cache: {ignore_headers: [accept, content-type]}",
        &[
            (
                "ignore_headers[0]",
                "removes `accept` from the cache key, which changes responses",
            ),
            ("ignore_headers[1]", "`content-type`"),
        ],
    ),
    (
        "cache: {ignore_headers: [x-session-id, x-author, x-keyboard, x-tenant, accept-language]}",
        &[],
    ),
    (
        "cache: {ignore: [/user, /model]}",
        &[(
            "ignore[1]",
            "removes `/model` from the cache key, which changes responses: a request gets",
        )],
    ),
    (
        "cache: {ignore: [/messages/01, /messages/0/content/00/text, /metadata/01]}",
        &[
            (
                "ignore[0]",
                "names no element: the index of one has no leading zero (RFC 6901); write `1` instead of `01`",
            ),
            ("ignore[1]", "write `0` instead of `00`"),
        ],
    ),
    (
        "cache: {ignore: [/messages]}",
        &[("ignore[0]", "`/messages`")],
    ),
    (
        "cache: {ignore: [/messages/0, /messages/1/content]}",
        &[
            ("ignore[0]", "`/messages/0`"),
            ("ignore[1]", "`/messages/1/content`"),
        ],
    ),
    (
        "cache: {ignore: [/input, /prompt, /contents, /system]}",
        &[
            ("ignore[0]", ""),
            ("ignore[1]", ""),
            ("ignore[2]", ""),
            ("ignore[3]", ""),
        ],
    ),
    (
        "cache: {ignore: [/temperature, /top_p, /max_tokens, /response_format]}",
        &[
            ("ignore[0]", ""),
            ("ignore[1]", ""),
            ("ignore[2]", ""),
            ("ignore[3]", ""),
        ],
    ),
    (
        "cache: {ignore: [/stream, /n, /tools, /tool_choice]}",
        &[
            ("ignore[0]", ""),
            ("ignore[1]", ""),
            ("ignore[2]", ""),
            ("ignore[3]", ""),
        ],
    ),
    (
        "cache: {ignore: [/generationConfig, /options/temperature, /parameters/top_p]}",
        &[("ignore[0]", ""), ("ignore[1]", ""), ("ignore[2]", "")],
    ),
    (
        "cache: {ignore: [/metadata, /messages/0/name, /stream_options, /tools/0/cache_control, /seed]}",
        &[],
    ),
    (
        "cache: {ignore: [/options, /parameters/session, /session_id]}",
        &[],
    ),
    (
        "cache: {ignore: [/messages/-/name]}",
        &[(
            "ignore[0]",
            "names no element: `-` is the place after the last one",
        )],
    ),
    (
        "cache: {ignore: ['/messages/*/name']}",
        &[(
            "ignore[0]",
            "names a member called `*`: a JSON pointer has no wildcards",
        )],
    ),
    (
        "cache: {ignore: [/metadata/a, /metadata, /metadatab]}",
        &[(
            "ignore[0]",
            "has no effect: `/metadata` (line 3) contains it; remove one of them",
        )],
    ),
    // What is switched off, or empty, is the default.
    (
        "cache: {answers: false, ttl: 1m, memory: 1MiB, ignore: [/user]}",
        &[],
    ),
    ("cache: {unless: {}, ignore: [], ignore_headers: []}", &[]),
    ("cache: {unless: {tools: false}}", &[]),
    (
        "cache: {unless: {temperature_above: 0, tools: true}, ttl: 1ms}",
        &[],
    ),
    (
        "cache: {memory: 100B}",
        &[(
            "memory",
            "is too small: a response with its head must fit into an eighth of it, 12 bytes",
        )],
    ),
    (
        "cache: {http: true, memory: 8191B}",
        &[("memory", "is too small")],
    ),
    ("cache: {memory: 8KiB}", &[]),
    (
        "methods: [GET], cache: {ttl: 1h}",
        &[(
            "",
            "has no effect: only responses to POST are stored, which `methods` does not list",
        )],
    ),
    (
        "methods: [POST, PUT], cache: {http: true}",
        &[(
            "",
            "has no effect: only responses to GET are stored, which `methods` does not list",
        )],
    ),
    ("methods: [GET], cache: {answers: false}", &[]),
    (
        "cache: {http: true, scope: client}",
        &[(
            "scope",
            "has no effect on an HTTP cache; a route without `signature` shares its responses",
        )],
    ),
    (
        "signature: {scheme: bearer, clients: [{name: a, secrets: [the-long-secret-of-a]}]}, cache: {http: true, scope: client}",
        &[],
    ),
    (
        "cache: {http: true, memory: 1MiB, scope: route, coalesce: false}",
        &[],
    ),
];

#[test]
fn settings_without_effect_or_that_mix_up_responses_are_warned_of() {
    for (keys, expected) in WARNED {
        let warned = routes(&[&format!("path: /a, {keys}")]);
        assert_eq!(warned.len(), expected.len(), "{keys}: {warned:#?}");
        for (warning, (key, part)) in warned.iter().zip(expected) {
            let key = match *key {
                "" => "cache".to_owned(),
                key => format!("cache.{key}"),
            };
            let begin = format!("`{key}` of route `r0` (line 3) ");
            assert!(warning.starts_with(&begin), "{keys}: {warning}");
            assert!(warning.contains(part), "{keys}: {warning}");
        }
    }
}

#[test]
fn a_key_without_effect_on_an_http_cache_is_warned_of() {
    let warnings = |keys: &str| routes(&[&format!("path: /a, cache: {{{keys}}}")]);
    for (key, name) in [
        ("ttl: 1h", "ttl"),
        ("ignore_headers: [x-a]", "ignore_headers"),
        ("ignore: [/user]", "ignore"),
        ("unless: {tools: true}", "unless"),
    ] {
        let expected =
            format!("`cache.{name}` of route `r0` (line 3) has no effect on an HTTP cache");
        let warned = warnings(&format!("http: true, {key}"));
        assert_eq!(warned.len(), 1, "{key}: {warned:?}");
        assert!(warned[0].starts_with(&expected), "{warned:?}");
        assert_eq!(warnings(key), Vec::<String>::new(), "{key}");
    }
}
