use http::HeaderValue;

use super::*;

fn with_usage(body: &str) -> Option<String> {
    let changed = with_usage_requested(body.as_bytes())?;
    Some(String::from_utf8(changed.to_vec()).expect("UTF-8"))
}

#[test]
fn usage_is_requested_and_every_other_byte_is_preserved() {
    for (body, expected) in [
        (
            r#"{"model":"m","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"m","stream":true}"#,
        ),
        (
            "\r\n {\t\"stream\" : true ,\n \"messages\": [ ] }\n",
            "\r\n {\"stream_options\":{\"include_usage\":true},\t\"stream\" : true ,\n \"messages\": [ ] }\n",
        ),
        (
            r#"{"stream":true,"stream_options":{}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options": { } ,"n":1}"#,
            r#"{"stream":true,"stream_options": {"include_usage":true } ,"n":1}"#,
        ),
        (
            r#"{"stream_options":{"include_obfuscation": false},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"include_obfuscation": false},"stream":true}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"a":{"include_usage":true},"include_usage" : false}}"#,
            r#"{"stream":true,"stream_options":{"a":{"include_usage":true},"include_usage" : true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":null }}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true }}"#,
        ),
        (
            r#"{"stream":true,"stream_options": null}"#,
            r#"{"stream":true,"stream_options": {"include_usage":true}}"#,
        ),
        // Names may contain escapes, and deeper members do not count.
        (
            r#"{"str\u0065am":true,"stream\u005foptions":{"include_\u0075sage":false}}"#,
            r#"{"str\u0065am":true,"stream\u005foptions":{"include_\u0075sage":true}}"#,
        ),
        (
            r#"{"x":{"stream_options":{"include_usage":true}},"stream":true,"y":"\"stream_options\":{"}"#,
            r#"{"stream_options":{"include_usage":true},"x":{"stream_options":{"include_usage":true}},"stream":true,"y":"\"stream_options\":{"}"#,
        ),
        // Duplicates matter only among the members that are read.
        (
            r#"{"user":"a","user":"b","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"user":"a","user":"b","stream":true}"#,
        ),
    ] {
        assert_eq!(with_usage(body).as_deref(), Some(expected), "{body}");
        assert_eq!(
            with_usage(expected),
            None,
            "it is requested now: {expected}"
        );
    }
}

#[test]
fn other_bodies_are_forwarded_unchanged() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"model":"m"}"#,
        r#"{"stream":false}"#,
        r#"{"stream":null}"#,
        r#"{"stream":1}"#,
        r#"{"stream":"true"}"#,
        // The client requests it itself, or its value has an unknown type.
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"yes"}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":1}}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":true,"stream_options":true}"#,
        // Parsers disagree on which of two duplicates counts.
        r#"{"stream":true,"stream":true}"#,
        r#"{"stream":true,"stream":false}"#,
        r#"{"stream":true,"stream_options":{},"stream_options":{}}"#,
        r#"{"stream":true,"stream_options":{},"stream\u005foptions":null}"#,
        r#"{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}"#,
        // Not exactly one JSON document.
        r#"{"stream":true"#,
        r#"{"stream":true,}"#,
        r#"{"stream":true}{}"#,
        r#"{"stream":true} x"#,
        r#"{"stream":true,"a":nul}"#,
        r#"{'stream':true}"#,
        "\u{feff}{\"stream\":true}",
        r#"[{"stream":true}]"#,
        r#""{\"stream\":true}""#,
    ] {
        assert_eq!(with_usage(body), None, "{body}");
    }
    let deep = format!(r#"{{"a":{}}}"#, "[".repeat(100_000));
    assert_eq!(with_usage(&deep), None);
}

#[test]
fn a_body_with_a_digest_in_the_head_is_not_changed() {
    let with = |name: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static("x"));
        may_change(&headers)
    };
    assert!(may_change(&HeaderMap::new()));
    assert!(with("content-type") && with("content-length") && with("authorization"));
    let identity = HeaderValue::from_static("Identity");
    assert!(may_change(&HeaderMap::from_iter([(
        header::CONTENT_ENCODING,
        identity
    )])));
    for name in DIGESTS.into_iter().chain(["content-encoding"]) {
        assert!(!with(name), "{name}");
    }
}
