//! What `ignore` leaves out of a key, and what `unless` makes of a request.

use serde_json::Value;

use super::canonical::{Dice, documents};
use super::*;
use crate::cache::canonical::{NotCanonical, canonical};
use crate::cache::pointer::Pointer;
use crate::cache::unless::{ToolCalls, Unless};

fn pointers(texts: &[&str]) -> Vec<Pointer> {
    let texts = texts.iter().map(|text| text.parse().expect(text));
    texts.collect()
}

/// The canonical text of `body` without what `ignored` points to.
fn text(ignored: &[&str], body: &str) -> Result<String, NotCanonical> {
    let settings = body_rules::BodySettings::new(&Config {
        ignore: pointers(ignored),
        ..config()
    });
    let settings = settings.expect("pointers");
    canonical(
        body.as_bytes(),
        settings.rules(None),
        &mut IgnoreAll,
        |text, _| String::from_utf8(text.to_vec()).expect("UTF-8"),
    )
}

fn decision(config: &Config, path: &'static str, body: &str) -> CacheDecision {
    let headers = HeaderMap::new();
    let request = CacheRequest {
        method: &Method::POST,
        path,
        query: "",
        host: b"weir.test",
        headers: &headers,
        body: body.as_bytes(),
        client: "web",
        is_forwarded: &|_| true,
        operation: Operation::of(path),
        path_match: PathMatch::Exact,
    };
    ResponseCache::new(config).decide(&request, &mut IgnoreAll)
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn ignored_values_are_left_out_of_the_text() {
    for (ignored, body, expected) in [
        (&["/user"][..], r#"{"user":"a"}"#, "{}"),
        (
            &["/user"],
            r#"{"model":"m","user":"a"}"#,
            r#"{"model":"m"}"#,
        ),
        (
            &["/user"],
            r#"{"user":{"b":1,"a":[{"d":1,"c":2}]},"model":"m"}"#,
            r#"{"model":"m"}"#,
        ),
        (
            &["/b"],
            r#"{"c":1,"b":{"z":1,"y":2},"a":{"q":1,"p":2}}"#,
            r#"{"a":{"p":2,"q":1},"c":1}"#,
        ),
        (
            &["/a", "/c"],
            r#"{ "a" : 1 , "b" : 2 , "c" : 3 }"#,
            r#"{"b":2}"#,
        ),
        (&["/a", "/b", "/c"], r#"{"a":1,"b":2,"c":3}"#, "{}"),
        (
            &["/user"],
            r#"{"\u0075ser":1,"x":{"user":1}}"#,
            r#"{"x":{"user":1}}"#,
        ),
        (
            &["/x/user"],
            r#"{"user":1,"x":{"user":1,"y":1}}"#,
            r#"{"user":1,"x":{"y":1}}"#,
        ),
        (
            &["/x/user"],
            r#"{"x":[{"user":1}]}"#,
            r#"{"x":[{"user":1}]}"#,
        ),
        (
            &["/absent", "/x/absent/too"],
            r#"{"x":{"y":1}}"#,
            r#"{"x":{"y":1}}"#,
        ),
        (&["/x/absent"], r#"{"x":"absent"}"#, r#"{"x":"absent"}"#),
        (
            &["/a~1b", "/m~0n", "/\""],
            r#"{"a/b":1,"m~n":2,"\"":3,"x":4}"#,
            r#"{"x":4}"#,
        ),
        (&["/"], r#"{"":1,"x":2}"#, r#"{"x":2}"#),
        (
            &["/m/0/name"],
            r#"{"m":[{"name":"a","c":1},{"name":"b"}]}"#,
            r#"{"m":[{"c":1},{"name":"b"}]}"#,
        ),
        (&["/m/0"], r#"{"m":[1,2,3]}"#, r#"{"m":[2,3]}"#),
        (&["/m/1"], r#"{"m":[1,{"b":1,"a":2},3]}"#, r#"{"m":[1,3]}"#),
        (&["/m/2"], r#"{"m":[1,2,3]}"#, r#"{"m":[1,2]}"#),
        (&["/m/0"], r#"{"m":[1]}"#, r#"{"m":[]}"#),
        (&["/m/0"], r#"{"m":{"0":1,"1":2}}"#, r#"{"m":{"1":2}}"#),
        (&["/m/00", "/m/-"], r#"{"m":[1,2]}"#, r#"{"m":[1,2]}"#),
        (
            &["/m/1/1"],
            r#"{"m":[[1,2],[3,4]]}"#,
            r#"{"m":[[1,2],[3]]}"#,
        ),
        (&["/a"], r#"{"a":1,"b":2,"a":3}"#, r#"{"b":2}"#),
    ] {
        assert_eq!(
            text(ignored, body).as_deref(),
            Ok(expected),
            "{ignored:?} {body}"
        );
    }
    for invalid in [
        r#"{"user":}"#,
        r#"{"user":1,}"#,
        r#"{"user":[1,}"#,
        r#"{"user":{"a":1,"a":2}}"#,
        r#"{"user":1 "x":2}"#,
    ] {
        assert!(text(&["/user"], invalid).is_err(), "{invalid}");
    }
}

#[test]
fn pointers_as_deep_as_the_configuration_allows_are_followed() {
    let deepest = "/a".repeat(crate::model::json::DEPTH_MAX);
    let around = |inside: &str| {
        let open = r#"{"a":"#.repeat(crate::model::json::DEPTH_MAX - 1);
        format!(
            "{open}{inside}{}",
            "}".repeat(crate::model::json::DEPTH_MAX - 1)
        )
    };
    let found = text(&[&deepest], &around(r#"{"b":1,"a":2}"#));
    assert_eq!(found, Ok(around(r#"{"b":1}"#)));
}

/// Changes the value at `pointer`, if there is one; returns whether there is.
fn change_at(document: &mut Value, pointer: &str) -> bool {
    let Some(value) = document.pointer_mut(pointer) else {
        return false;
    };
    *value = serde_json::json!({"changed": [value.take()]});
    true
}

/// All pointers into a document.
fn all_pointers(document: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let token = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{at}/{token}");
        all_pointers(value, &pointer, found);
        found.push(pointer);
    };
    match document {
        Value::Object(members) => members.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, value)| below(&index.to_string(), value));
        }
        _ => {}
    }
}

#[test]
fn a_change_of_an_ignored_value_keeps_the_text_and_any_other_changes_it() {
    let mut dice = Dice::new(0x51ed_270b);
    let (mut kept, mut changed) = (0, 0);
    for source in documents(1_500) {
        let document: Value = serde_json::from_str(&source).expect("JSON");
        let mut pointers = Vec::new();
        all_pointers(&document, "", &mut pointers);
        if pointers.is_empty() {
            continue;
        }
        let ignored = pointers[dice.below(pointers.len())].clone();
        let before = text(&[&ignored], &source).expect("valid");
        for pointer in &pointers {
            let mut other = document.clone();
            assert!(change_at(&mut other, pointer), "{pointer}");
            let after = text(&[&ignored], &other.to_string()).expect("valid");
            let is_inside = *pointer == ignored || pointer.starts_with(&format!("{ignored}/"));
            match is_inside {
                true => kept += 1,
                false => changed += 1,
            }
            assert_eq!(before == after, is_inside, "{ignored} {pointer} {source}");
        }
    }
    assert!(kept > 1_000 && changed > 1_000, "{kept} {changed}");
}

#[test]
fn an_ignored_value_changes_no_key_and_makes_no_request_stateful() {
    let ignoring = Config {
        ignore: pointers(&["/user", "/session_id"]),
        ..config()
    };
    let path = "/v1/chat/completions";
    let key = |config: &Config, body: &str| decision(config, path, body).key();
    let base = key(&ignoring, r#"{"messages":[]}"#);
    assert!(base.is_some());
    for body in [
        r#"{"messages":[],"user":"a"}"#,
        r#"{"user":{"id":1},"messages":[]}"#,
        r#"{"messages":[],"session_id":"s","user":null}"#,
    ] {
        assert_eq!(key(&ignoring, body), base, "{body}");
    }
    assert_ne!(key(&ignoring, r#"{"messages":[0]}"#), base);
    assert_eq!(key(&config(), r#"{"messages":[],"session_id":"s"}"#), None);
}

#[test]
fn unless_names_requests_that_bypass_the_cache() {
    let careful = Config {
        ignore: pointers(&["/temperature", "/tools"]),
        unless: Unless {
            temperature_above: Some(0.0),
            tools: ToolCalls::Bypass,
        },
        ..config()
    };
    for (path, body, expected) in [
        ("/v1/chat/completions", r#"{"temperature":0}"#, None),
        (
            "/v1/chat/completions",
            r#"{"temperature":0,"tools":[]}"#,
            None,
        ),
        (
            "/v1/chat/completions",
            r#"{}"#,
            Some(BypassReason::Temperature),
        ),
        (
            "/v1/chat/completions",
            r#"{"temperature":0.1}"#,
            Some(BypassReason::Temperature),
        ),
        (
            "/v1/chat/completions",
            r#"{"temperature":0,"tools":[{}]}"#,
            Some(BypassReason::Tools),
        ),
        (
            "/v1/chat/completions",
            r#"{"store":true}"#,
            Some(BypassReason::Stateful),
        ),
        ("/v1/embeddings", r#"{"input":"a"}"#, None),
        (
            "/v1beta/models/gemini:generateContent",
            r#"{"generationConfig":{"temperature":0}}"#,
            None,
        ),
        (
            "/v1beta/models/gemini:generateContent",
            r#"{"generationConfig":{"temperature":1}}"#,
            Some(BypassReason::Temperature),
        ),
        ("/v1/chat/completions", "[]", Some(BypassReason::Body)),
        ("/v1/files", "{}", Some(BypassReason::Operation)),
    ] {
        let found = decision(&careful, path, body).bypass();
        assert_eq!(found, expected, "{path} {body}");
        if matches!(
            expected,
            Some(BypassReason::Temperature | BypassReason::Tools)
        ) {
            assert_eq!(
                decision(&config(), path, body).bypass(),
                None,
                "{path} {body}"
            );
        }
    }
}
