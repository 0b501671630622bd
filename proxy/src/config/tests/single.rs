//! Single diagnostics: the position and the message of each.

use super::*;

/// Each line is what is written, the position of its only diagnostic, and parts of the message:
/// `written => line:column part & part`; `⏎` is a newline.
pub(super) fn table(cases: &str) -> impl Iterator<Item = (String, usize, usize, Vec<&str>)> {
    cases.trim_matches('\n').lines().map(|case| {
        let (written, expected) = case.split_once(" => ").unwrap();
        let (place, parts) = expected.split_once(' ').unwrap();
        let (line, column) = place.split_once(':').unwrap();
        let (line, column) = (line.parse().unwrap(), column.parse().unwrap());
        (
            written.replace('⏎', "\n"),
            line,
            column,
            parts.split(" & ").collect(),
        )
    })
}

#[track_caller]
pub(super) fn assert_reported(text: &str, line: usize, column: usize, parts: &[&str]) {
    let error = invalid(text);
    assert_eq!(error.list.len(), 1, "{error}\nin\n{text}");
    let diagnostic = &error.list[0];
    assert_eq!(
        (diagnostic.line, diagnostic.column),
        (line, column),
        "{error}"
    );
    for part in parts {
        assert!(diagnostic.message.contains(part), "no `{part}` in: {error}");
    }
    let first = diagnostic.message.chars().next().unwrap();
    assert!(
        !first.is_uppercase() && !diagnostic.message.ends_with('.'),
        "{error}"
    );
}

#[test]
fn beside_the_least_file() {
    let cases = r#"
limitz: {} => 3:1 unknown key `limitz` & did you mean `limits`?
zzzzzz: 1 => 3:1 unknown key `zzzzzz` & known here: listen, limits
limits: 5 => 3:9 expected a mapping & a single value
limits: [a] => 3:9 expected a mapping & a list
listen: 0.0.0.0:80 => 3:9 expected a list & a single value
listen: [] => 3:9 the list is empty
listen: [{address: localhost:80}] => 3:20 an IP address and a port & `localhost:80`
listen: [{address: 0.0.0.0:99999}] => 3:20 an IP address and a port
listen: [{address: '[::]:1'}, {address: '[::]:1'}] => 3:41 already used by another listener
listen: [{address: 0.0.0.0:1, tls: }] => 3:31 `tls` is empty & unprotected
limits: {header_timeout: 30x} => 3:26 expected a duration such as 30s & found `30x`
limits: {header_timeout: 0s} => 3:26 a duration above 0
limits: {header_timeout: 9999d} => 3:26 at most 3650d
limits: {header_bytes: 32k} => 3:24 a size such as 10MiB & `32k`
limits: {header_bytes: 10B} => 3:24 at least 1024B
limits: {connections: 0} => 3:23 a whole number from 1 & `0`
limits: {connections: -1} => 3:23 a whole number from 1
limits: {connections: {a: 1}} => 3:23 a whole number & a mapping
limits: {connections: 5, connections: 6} => 3:26 duplicate key & first set on line 3
limits: {[a]: 5} => 3:10 a key must be a plain word
limits: {<<: {connections: 5}} => 3:10 merge keys
limits: !mine {connections: 5} => 3:15 tags
limits: *nothing => 3:9 no anchor (`&name`)
limits: {connections: 5 => 3:9 not valid YAML
trusted_proxies: [10.0.0.0/33] => 3:19 a network such as 10.0.0.0/8
trusted_proxies: [''] => 3:19 a network & an empty value
admin: {address: 0.0.0.0:8081} => 3:18 not a loopback address; set a non-empty `token`
admin: {address: 0.0.0.0:8081, token: ''} => 3:18 set a non-empty `token`
admin: {token: '${TOKEN}'} => 3:17 variable `TOKEN` is not set & ${TOKEN:-fallback}
admin: {token: '${file:/nowhere/x}'} => 3:17 `/nowhere/x` cannot be read
admin: {token: '${file:/}'} => 3:17 `/` cannot be read & not a file
admin: {token: '${1A}'} => 3:17 not a variable name
admin: {token: 'a${B'} => 3:16 without its `}`
admin: {token: '${A:-${B}}'} => 3:17 fallback & plain text
redis: {} => 3:8 the key `url` is missing
redis: {url: 'http://x'} => 3:14 must begin with redis://
events: {stdout: yes} => 3:18 expected true or false & `yes`
events: {content: hashed} => 3:19 one of `none` & did you mean `hash`?
events: {sample: 101%} => 3:18 from 0% to 100%
events: {environment: "a\nb"} => 3:23 control character
events: {elasticsearch: {}} => 3:25 the key `urls` is missing
events: {elasticsearch: {urls: ['http://u:p@h']}} => 3:33 must not contain a user and password; set `username` and `password` instead
events: {elasticsearch: {urls: ['http://h'], data_stream: Logs}} => 3:59 a data stream such as
events: {elasticsearch: {urls: ['http://h'], password: x}} => 3:56 `username` is missing
events: {elasticsearch: {urls: ['http://h'], api_key: "a\nb"}} => 3:55 printable ASCII
events: {elasticsearch: {urls: ['http://h'], api_key: 'ä'}} => 3:55 printable ASCII
traces: {otlp: 'localhost:4318'} => 3:16 the address must begin with http:// or https://
alerts: {feishu: {secret: s}} => 3:27 `webhook`, which is missing
shutdown: {drain: ''}⏎shutdown: {} => 4:1 duplicate key & first set on line 3
listen: [{address: '127.0.0.1:9'}]⏎admin: {address: '127.0.0.1:9'} => 4:18 its own
---⏎limits: {} => 3:1 second document
"#;
    for (extra, line, column, parts) in table(cases) {
        assert_reported(&format!("{LEAST}{extra}\n"), line, column, &parts);
    }
}

#[test]
fn in_a_backend() {
    let cases = r#"
endpoints: [] => 4:16 the list is empty
endpoints: [127.0.0.1:8000] => 4:17 the address must begin with http:// or https://
endpoints: [ftp://a] => 4:17 the address must begin with http:// or https://
endpoints: ['http://'] => 4:17 names no host
endpoints: ['http://:80'] => 4:17 names no host
endpoints: ['http://a:x'] => 4:17 port
endpoints: ['http://a:99999'] => 4:17 port
endpoints: ['http://a/v1'] => 4:17 no path & `path_prefix`
endpoints: ['http://a?b'] => 4:17 no path, query or fragment
endpoints: ['http://u:p@a'] => 4:17 must not contain a user and password; set `request_headers` instead
endpoints: ['h2c://a/v1'] => 4:17 no path & `path_prefix`
endpoints: ['unix:run/a.sock'] => 4:17 absolute & unix:/run/assistant.sock
endpoints: ['unix://run/a.sock'] => 4:17 absolute
endpoints: ['unix:'] => 4:17 absolute
endpoints: ['unix:/'] => 4:17 absolute
endpoints: ['unix:/%LONG%'] => 4:17 at most 107 bytes
tls: {} => 4:10 is for https endpoints
tls: {certificate: /a.pem} => 4:24 needs its `key`
tls: {key: /a.pem} => 4:16 needs its `certificate`
tls: {ca_file: /nowhere/ca.pem} => 4:20 cannot be read & No such file
tls: {ca_file: /} => 4:20 cannot be read & not a file
tls: {ca_file: Cargo.toml} => 4:20 no certificate in PEM
tls: {ca_files: a} => 4:11 did you mean `ca_file`?
path_prefix: v1 => 4:18 a path must begin with /
load_balancing: least_requests => 4:21 did you mean `least_request`?
retry: {attempts: 0} => 4:23 a whole number from 1
retry: {when: [conect]} => 4:20 did you mean `connect`?
retry: {when: [404]} => 4:20 a status from 500 to 599
retry: {when: [428]} => 4:20 429 or a status from 500 to 599
circuit_breaker: {failure_ratio: 50} => 4:38 a share such as 1%
circuit_breaker: {failure_ratio: 0%} => 4:38 with 0% a single failure
circuit_breaker: {when_all_open: reject} => 4:38 one of `try`, `fail`
model_map: {a: 'b?c'} => 4:20 the name of a model
health_check: {path: healthz} => 4:26 a path must begin with /
health_check: {path: '/a b'} => 4:26 is no path of a request
health_check: {path: '/a#b'} => 4:26 leave `#` out
health_check: {healthy_after: 0} => 4:35 a whole number from 1
health_check: {unhealthy_after: 0} => 4:37 a whole number from 1
health_check: {status: []} => 4:28 the list is empty
health_check: {status: [200, 600]} => 4:34 a status from 200 to 599
health_check: {status: [ok]} => 4:29 a status from 200 to 599
health_check: {statuses: [200]} => 4:20 did you mean `status`?
request_headers: {'a b': x} => 4:23 a header name such as
request_headers: {content-length: 5} => 4:23 sets `content-length` itself
request_headers: {x: 1, X: 2} => 4:29 duplicate header & already used on line 4
fallback: nobody => 4:15 no backend has this name & there are: a, b
fallback: a => 4:15 form a loop
fallback: ${UNSET} => 4:15 `UNSET` is not set
"#;
    let cases = cases.replace("%LONG%", &"a".repeat(107));
    for (extra, line, column, parts) in table(&cases) {
        let endpoints = if extra.starts_with("endpoints") {
            ""
        } else if extra.starts_with("tls: {}") {
            "    endpoints: ['http://a']\n"
        } else {
            "    endpoints: ['https://a']\n"
        };
        let text = format!(
            "routes: [{{name: all, path: '/*', backend: a}}]\nbackends:\n  - name: a\n    {extra}\n{endpoints}  - {{name: b, endpoints: ['http://b']}}\n"
        );
        assert_reported(&text, line, column, &parts);
    }
}

#[test]
fn in_a_route() {
    let cases = r#"
name: Chat => 3:11 a name of 1 to 64 characters & `Chat`
name: none => 3:11 `none` is reserved
path: chat => 3:11 a path must begin with /
path: '/a*b' => 3:11 `*` is only allowed at the end
path: '/a?b' => 3:11 no query
backend: bssistant => 3:14 did you mean `assistant`?
methods: [] => 3:14 the list is empty
methods: [post] => 3:15 did you mean `POST`?
platform: Feishu => 3:15 a name of 1 to 64
allow:  => 3:5 `allow` is empty & unprotected
allow: [] => 3:12 the list is empty
allow: [10.0.0.0/8, everybody] => 3:25 a network such as
concurrency: 0 => 3:18 a whole number from 1
body_bytes: 10 => 3:17 a size such as
rate_limits: [{name: a}] => 3:19 needs a `rate` or `tokens`
rate_limits: [{name: a, rate: 1/s, tokens: 1/s}] => 3:48 either a `rate` or `tokens`
rate_limits: [{name: a, rate: 0/s}] => 3:35 a rate above 0
rate_limits: [{name: a, rate: 5/d}] => 3:35 a rate such as 20/s & `5/d`
rate_limits: [{name: a, rate: 1/s, burst: 0}] => 3:47 a whole number from 1
rate_limits: [{name: a, rate: 1/s, clients: [guest]}] => 3:50 without a signature
rate_limits: [{name: a, rate: 1/s, by: adress}] => 3:44 did you mean `address`?
rate_limits: [{name: a, rate: 1/s, by: 'header:a b'}] => 3:44 no header
rate_limits: [{name: a, rate: 1/s}, {name: a, rate: 2/s}] => 3:48 duplicate rate limit of this route & already used on line 3
rate_limits: [{rate: 1/s}] => 3:19 the key `name` is missing
conversation: {rounds: some} => 3:28 a whole number from 0
signature:  => 3:5 `signature` is empty & unprotected
signature: [] => 3:16 the list is empty
signature: hmac => 3:16 expected a mapping
"#;
    for (extra, line, column, parts) in table(cases) {
        assert_reported(&route_with(&extra), line, column, &parts);
    }
}

/// A file whose only route has `extra` on line 3, from column 5 on.
pub(super) fn route_with(extra: &str) -> String {
    let mut text =
        format!("backends: [{{name: assistant, endpoints: ['http://a']}}]\nroutes:\n  - {extra}\n");
    for (key, value) in [("name", "r"), ("path", "/r"), ("backend", "assistant")] {
        if !extra.starts_with(&format!("{key}:")) {
            text.push_str(&format!("    {key}: {value}\n"));
        }
    }
    text
}

#[test]
fn paths_that_are_not_canonical() {
    let cases = r#"
path: /a/../b => 3:11 canonical form & write `/b`
path: //a => 3:11 write `/a`
path: /a%41 => 3:11 write `/aA`
path: /a%2fb => 3:11 write `/a%2Fb`
path: '/a/./b*' => 3:11 write `/a/b*`
path: //* => 3:11 write `/*`
path: /.. => 3:11 above the root
path: /a%00 => 3:11 no NUL
path: /a%zz => 3:11 two hex digits
path: /%ff => 3:11 UTF-8
path: /a%0a => 3:11 no control character
path: /a%5Cb => 3:11 no backslash
path: /a\b => 3:11 no backslash
path: /你* => 3:11 write `/%E4%BD%A0*`
path: '*' => 3:11 a path must begin with /
"#;
    for (extra, line, column, parts) in table(cases) {
        assert_reported(&route_with(&extra), line, column, &parts);
    }
    let error = invalid(
        LEAST
            .replace("8000']", "8000'], path_prefix: //v1")
            .as_str(),
    );
    assert!(error.list[0].message.contains("write `/v1`"), "{error}");
    valid(&route_with("path: '/a/.*'"));
}

#[test]
fn in_a_signature() {
    // The braces open in column 16 of line 3.
    let cases = r#"
secrets: [x] => 3:16 the key `scheme` is missing
scheme: hmacc, secrets: [x] => 3:25 did you mean `hmac`?
scheme: rot, secrets: [x] => 3:25 expected one of `hmac`, `bearer`, `feishu`, `simple_sha256`, found `rot`
scheme: hmac => 3:25 `hmac` needs `clients` or `secrets`
scheme: hmac, secrets: [x], clients: [{name: a, secrets: [y]}] => 3:40 defines a single client
scheme: hmac, secrets: [''] => 3:41 the secret is empty
scheme: hmac, secrets: ['${A:-}'] => 3:41 the variable `A` is empty; a secret must not be
scheme: hmac, secrets: [] => 3:40 the list is empty
scheme: hmac, secrets:  => 3:31 `secrets` is empty
scheme: hmac, clients: [{name: a, secrets: [x]}, {name: a, secrets: [y]}] => 3:73 duplicate client of this scheme
scheme: hmac, secrets: [x], aes_key: abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ => 3:54 `aes_key` is no key of the scheme `hmac` & takes: secrets, clients
scheme: hmac, secrets: [x], verification_token: t => 3:65 no key of the scheme `hmac`
scheme: hmac, secrets: [x], signed: '{timestamp}.{bodi}' => 3:53 did you mean `{body}`?
scheme: hmac, secrets: [x], signed: '{timestamp}.{body' => 3:53 plain text
scheme: hmac, secrets: [x], signed: '{id}{body}' => 3:25 separator
scheme: hmac, secrets: [x], id_header: 'a b' => 3:56 a header name
scheme: hmac, secrets: [x], id_header: X-Weir-Key => 3:56 already carries another part
scheme: hmac, secrets: [xyz], key_encoding: hex => 3:41 not valid hex
scheme: hmac, secrets: ['*'], key_encoding: base64 => 3:41 not valid base64
scheme: hmac, secrets: [x], algorithm: md5 => 3:56 one of `sha1`
scheme: hmac, secrets: [x], tolerance: 0s => 3:56 above 0
scheme: bearer, secrets: ['sha256:abc'] => 3:43 64 hex digits
scheme: feishu => 3:25 needs `secrets` (encrypt keys) or a `verification_token`
scheme: feishu, verification_token: '' => 3:25 needs `secrets`
scheme: simple_sha256 => 3:25 needs `secrets`
scheme: slack, secrets: [x] => 3:25 this version does not support the scheme `slack`; choose hmac, bearer, feishu or simple_sha256
"#;
    for (inside, line, column, parts) in table(cases) {
        let text = route_with(&format!("signature: {{{inside}}}"));
        assert_reported(&text, line, column, &parts);
    }
}

#[test]
fn every_planned_scheme_requires_its_keys_and_is_an_error() {
    for (inside, needs) in [
        ("scheme: meta, secrets: [x]", "a `verification_token`"),
        ("scheme: telegram", "`secrets`"),
        ("scheme: wecom, secrets: [x]", "an `aes_key`"),
        ("scheme: dingtalk_event, secrets: [x]", "an `aes_key`"),
        ("scheme: discord", "`public_keys`"),
        ("scheme: http_message_signatures", "`keys`"),
    ] {
        let error = invalid(&route_with(&format!("signature: {{{inside}}}"))).to_string();
        assert!(error.contains(&format!("needs {needs}")), "{error}");
        assert!(error.contains("does not support the scheme"), "{error}");
        assert!(error.ends_with("2 errors in weir.yaml"), "{error}");
    }
}

#[test]
fn alert_rules_are_ordered_and_measured_as_their_signal_is() {
    let rule = |thresholds: &str| {
        format!("{LEAST}alerts: {{rules: [{{name: R, signal: error_rate, {thresholds}}}]}}\n")
    };
    assert_reported(
        &rule("warning: 3%, critical: 1%, recovery: 1%"),
        3,
        57,
        &["`warning` is above `critical`"],
    );
    assert_reported(
        &rule("warning: 1%, critical: 3%, recovery: 2%"),
        3,
        85,
        &["`recovery` is above `warning`"],
    );
    assert_reported(
        &rule("warning: 1s, critical: 3%, recovery: 1%"),
        3,
        57,
        &["a share such as 1%"],
    );
    valid(&rule("warning: 1%, critical: 1%, recovery: 1%"));
}

#[test]
fn certificates_must_be_there() {
    let error = invalid(&format!(
        "{LEAST}listen: [{{address: '0.0.0.0:1', tls: {{certificate: /nowhere/a, key: /nowhere/b}}}}]\n"
    ));
    let columns: Vec<usize> = error
        .list
        .iter()
        .map(|diagnostic| diagnostic.column)
        .collect();
    assert_eq!(columns, [52, 69], "{error}");
    assert!(
        error.to_string().contains("the file cannot be read"),
        "{error}"
    );
}

#[test]
fn certificates_hold_what_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("a.pem"), folder.path().join("b.pem"));
    let pem = |label: &str| format!("-----BEGIN {label}-----\nMAo=\n-----END {label}-----\n");
    let text = format!(
        "{LEAST}listen: [{{address: '0.0.0.0:1', tls: {{certificate: {}, key: {}}}}}]\n",
        certificate.display(),
        key.display()
    );
    std::fs::write(&certificate, pem("CERTIFICATE")).unwrap();
    std::fs::write(&key, pem("PRIVATE KEY")).unwrap();
    let listen = valid(&text).config.listen;
    assert_eq!(listen[0].tls.as_ref().unwrap().key, key);
    std::fs::write(&certificate, pem("PRIVATE KEY")).unwrap();
    std::fs::write(&key, "very secret, but no PEM").unwrap();
    let shown = invalid(&text).to_string();
    assert!(shown.contains("no certificate in PEM") && shown.contains("no private key in PEM"));
    assert!(!shown.contains("very secret"), "{shown}");
}

#[test]
fn an_empty_file_says_what_is_missing() {
    for text in ["", "\n\n", "# nothing\n", "---\n", "~"] {
        let error = invalid(text);
        let messages: Vec<&str> = error.list.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "the key `backends` is missing here",
                "the key `routes` is missing here"
            ]
        );
        assert_eq!((error.list[0].line, error.list[0].column), (1, 1));
    }
}

#[test]
fn a_wrong_backend_name_is_told_once() {
    let error = invalid(
        "backends: [{name: A, endpoints: ['http://a']}]\nroutes: [{name: r, path: /, backend: a}]",
    );
    assert_eq!(error.list.len(), 1, "{error}");
}
