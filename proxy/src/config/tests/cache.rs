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

#[test]
fn a_credential_that_is_no_part_of_the_question_is_warned_of() {
    let warnings = |names: &str| {
        let route = format!("path: /a, cache: {{ignore_headers: [{names}]}}");
        routes(&[&route])
    };
    assert_eq!(
        warnings("x-session, Authorization"),
        [
            "`cache.ignore_headers[1]` of route `r0` (line 3) removes `authorization` from the cache key: \
             a response to one credential is served to requests with another credential, or \
             with none."
        ]
    );
    for name in [
        "cookie",
        "x-api-key",
        "apikey",
        "ocp-apim-subscription-key",
        "x-litellm-api-key",
        "x-auth-token",
        "x_secret",
    ] {
        assert_eq!(warnings(name).len(), 1, "{name}");
    }
    for name in [
        "x-session-id",
        "x-author",
        "x-keyboard",
        "idempotency-key",
        "x-tenant",
    ] {
        assert_eq!(warnings(name), Vec::<String>::new(), "{name}");
    }
    assert_eq!(warnings(""), Vec::<String>::new());
}

#[test]
fn an_ignored_value_that_changes_responses_is_warned_of() {
    let warnings =
        |pointer: &str| routes(&[&format!("path: /a, cache: {{ignore: [/user, {pointer}]}}")]);
    assert_eq!(
        warnings("/model"),
        [
            "`cache.ignore[1]` of route `r0` (line 3) removes `/model` from the cache key, which changes responses: \
             a request gets the stored response to a request with another value."
        ]
    );
    for pointer in [
        "/messages",
        "/messages/0",
        "/messages/0/content",
        "/input",
        "/prompt",
        "/stream",
    ] {
        assert_eq!(warnings(pointer).len(), 1, "{pointer}");
    }
    for pointer in [
        "/metadata",
        "/messages/0/name",
        "/stream_options",
        "/tools/0/cache_control",
    ] {
        assert_eq!(warnings(pointer), Vec::<String>::new(), "{pointer}");
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
    let of_both = "http: true, memory: 1MiB, scope: route, coalesce: false";
    assert_eq!(warnings(of_both), Vec::<String>::new());
}
