//! `${...}`, and that what it puts in is never shown.

use super::*;

const SECRET: &str = "hunter2-the-secret";

fn environment(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some(SECRET.to_owned()),
        "EMPTY" => Some(String::new()),
        "PORT" => Some("8000".to_owned()),
        "SMUGGLED" => Some("${SECRET}".to_owned()),
        "HOST" => Some("example.com".to_owned()),
        _ => None,
    }
}

fn loaded(text: &str) -> Result<LoadedConfig, ConfigError> {
    parse(text, Path::new("weir.yaml"), &environment)
}

fn environment_key(value: &str) -> String {
    let text = format!("{LEAST}events: {{environment: \"{value}\"}}\n");
    loaded(&text).unwrap().config.events.environment
}

#[test]
fn variables_fallbacks_and_escapes() {
    for (written, value) in [
        ("plain", "plain"),
        ("${HOST}", "example.com"),
        ("a-${HOST}-${PORT}-b", "a-example.com-8000-b"),
        ("${NOT_SET:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${NOT_SET:-a:-b}", "a:-b"),
        ("$${HOST}", "${HOST}"),
        ("$${HOST} ${HOST}", "${HOST} example.com"),
        ("$HOST $ {HOST}", "$HOST $ {HOST}"),
        ("${SMUGGLED}", "${SECRET}"),
        ("${EMPTY}", "production"),
        ("${NOT_SET:-}", "production"),
    ] {
        assert_eq!(environment_key(written), value, "{written}");
    }
}

#[test]
fn any_scalar_can_be_filled() {
    let text = format!(
        "{}limits: {{connections: \"${{PORT}}\", idle_timeout: \"${{T:-5}}s\"}}\n",
        LEAST.replace("127.0.0.1:8000", "${HOST}:${PORT}")
    );
    let config = loaded(&text).unwrap().config;
    assert_eq!(config.limits.connections, 8000);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(5));
    assert_eq!(
        &*config.backends[0].endpoints[0].text,
        "http://example.com:8000"
    );
}

#[test]
fn a_file_gives_a_value_without_its_newline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    for (content, value) in [
        ("abc\n", "abc"),
        ("abc\r\n", "abc"),
        ("abc\n\r\n\n", "abc"),
        ("\u{feff}abc\n", "abc"),
        ("abc", "abc"),
        ("a b ", "a b "),
    ] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(
            environment_key(&format!("${{file:{}}}", path.display())),
            value
        );
    }
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    let text = format!(
        "{LEAST}admin: {{token: \"${{file:{}}}\"}}\n",
        path.display()
    );
    assert!(
        loaded(&text)
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    std::fs::write(&path, vec![b'x'; 70_000]).unwrap();
    assert!(
        loaded(&text)
            .unwrap_err()
            .to_string()
            .contains("larger than")
    );
}

#[test]
fn a_header_with_an_empty_variable_is_left_out() {
    for (value, is_there) in [
        ("Bearer ${NOT_SET:-}", false),
        ("Bearer ${EMPTY}", false),
        ("", false),
        ("Bearer ${SECRET}", true),
    ] {
        let text = format!(
            "backends: [{{name: a, endpoints: ['http://a'], request_headers: {{authorization: \"{value}\"}}}}]\n\
             routes: [{{name: r, path: /, backend: a}}]\n"
        );
        let config = loaded(&text).unwrap().config;
        let headers = &config.backends[0].request_headers;
        assert_eq!(!headers.is_empty(), is_there, "{value}");
        if let Some((_, header)) = headers.first() {
            assert!(header.is_sensitive());
            assert_eq!(header.to_str().unwrap(), format!("Bearer {SECRET}"));
        }
        assert!(!format!("{config:?}").contains(SECRET));
    }
}

#[test]
fn an_empty_text_is_a_value_only_where_it_is_written() {
    for (prefix, value) in [("''", ""), ("'${NOT_SET:-}'", "v1="), ("", "v1=")] {
        let text = format!(
            "backends: [{{name: a, endpoints: ['http://a']}}]\nroutes: [{{name: r, path: /, backend: a, \
             signature: {{scheme: hmac, secrets: [s], prefix: {prefix}}}}}]\n"
        );
        let config = loaded(&text).unwrap().config;
        let shown = format!("{:?}", config.routes[0].signature[0]);
        let part = format!(r#"x-weir-signature \"{value}\" "#);
        assert!(shown.contains(&part), "{prefix}: {shown}");
    }
}

#[test]
fn the_place_of_a_missing_variable_is_its_own() {
    let text = format!("{LEAST}events: {{environment: \"a ${{HOST}} ${{NO_A}} ${{NO_B}}\"}}\n");
    let error = loaded(&text).unwrap_err();
    let columns: Vec<usize> = error
        .list
        .iter()
        .map(|diagnostic| diagnostic.column)
        .collect();
    assert_eq!(columns, [34, 42], "{error}");
}

#[test]
fn an_invalid_value_of_a_variable_is_named_by_the_variable() {
    let signature = |secrets: &str| {
        format!(
            "backends: [{{name: a, endpoints: ['http://a']}}]\nroutes: [{{name: r, path: /, backend: a, \
             signature: {{scheme: hmac, secrets: ['{secrets}']}}}}]\n"
        )
    };
    for (text, message) in [
        (
            format!("{LEAST}events: {{content: '${{HOST}}'}}\n"),
            "expected one of `none`, `hash`, `redacted`; the value of the variable `HOST` is not one of them",
        ),
        (
            format!("{LEAST}limits: {{connections: '${{HOST}}'}}\n"),
            "expected a whole number from 1 to 1000000000; the value of the variable `HOST` is not valid",
        ),
        (
            signature("${EMPTY}"),
            "the variable `EMPTY` is empty; a secret must not be",
        ),
        (signature(""), "the secret is empty"),
    ] {
        let error = loaded(&text).unwrap_err();
        assert_eq!(error.list[0].message, message);
    }
}

/// The secret in every place where something else was expected.
#[test]
fn what_was_put_in_is_never_shown() {
    let filled = "${SECRET}";
    let keys = [
        format!(
            "limits: {{header_timeout: '{filled}', header_bytes: '{filled}', connections: '{filled}'}}"
        ),
        format!(
            "listen: [{{address: '{filled}', tls: {{certificate: '{filled}', key: '/x/{filled}'}}}}]"
        ),
        format!("trusted_proxies: ['{filled}']"),
        format!("redis: {{url: '{filled}'}}"),
        format!(
            "events: {{stdout: '{filled}', content: '{filled}', sample: '{filled}', elasticsearch: {{urls: ['http://u:{filled}@h'], data_stream: '{filled}'}}}}"
        ),
        format!(
            "alerts: {{rules: [{{name: '-{filled}', signal: '{filled}', warning: '{filled}', critical: 1%, recovery: 1%}}]}}"
        ),
        format!(
            "backends: [{{name: '{filled}', endpoints: ['{filled}', 'http://{filled}:x'], fallback: '{filled}', request_headers: {{a: \"{filled}\\n\"}}}}, {{name: '{filled}', endpoints: ['http://a']}}]"
        ),
        format!(
            "routes: [{{name: '{filled}', path: '{filled}', backend: 'x{filled}', methods: ['{filled}'], allow: ['{filled}'],\n  rate_limits: [{{name: a, rate: '{filled}', by: 'header:{filled} '}}],\n  signature: [{{scheme: '{filled}'}}, {{scheme: bearer, secrets: ['sha256:{filled}']}}, {{scheme: hmac, secrets: ['{filled}'], key_encoding: hex, signed: '{{{filled}}}'}}]}}]"
        ),
        format!("traces: {{otlp: '{filled}', sample: '{filled}'}}"),
    ];
    let error = loaded(&keys.join("\n")).unwrap_err();
    assert!(error.list.len() > 25, "{error}");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let right = format!("{LEAST}admin: {{token: '{filled}'}}\n");
    let loaded = loaded(&right).unwrap();
    assert!(
        !format!("{loaded:?}").contains("hunter2"),
        "the token of the admin side is shown"
    );
}
