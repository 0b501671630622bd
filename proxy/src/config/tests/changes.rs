//! In which keys two files differ, and which of them need a restart.

use super::*;

const BASE: &str = "\
listen: [{address: '127.0.0.1:8080'}]
backends: [{name: a, endpoints: ['http://a']}, {name: b, endpoints: ['http://b']}]
routes:
  - {name: chat, path: /chat, backend: a, body_timeout: 60s, cache: {}, signature: {scheme: hmac, secrets: [s3cret]}}
  - {name: rest, path: /*, backend: a, rate_limits: [{name: l, rate: 1/s}]}
events: {file: {path: data/e.ndjson}, sample: 50%}
";

/// What `change` of the file changes: all keys, and those that need a restart.
fn changes(change: impl Fn(&str) -> String) -> (Vec<String>, Vec<String>) {
    let changed = change(BASE);
    assert_ne!(changed, BASE);
    let Changes {
        changed,
        needs_restart,
    } = diff(&valid(BASE), &valid(&changed));
    (changed, needs_restart)
}

fn replaced(from: &str, to: &str) -> (Vec<String>, Vec<String>) {
    assert!(BASE.contains(from), "{from}");
    changes(|text| text.replace(from, to))
}

#[test]
fn equivalent_spellings_are_no_changes() {
    for (from, to) in [
        ("60s", "1m"),
        ("cache: {}", "cache: {ttl: 60m, memory: 100MiB}"),
        ("name: rest, path: /*", "path: '/*', name: rest"),
        ("50%", "50%}\nlimits: {connections: 10000"),
        (
            "{scheme: hmac, secrets: [s3cret]}",
            "[{scheme: hmac, secrets: ['s3cret'], tolerance: 300s}]",
        ),
    ] {
        let (changed, _) = replaced(from, to);
        let is_expected = match to.contains("tolerance") {
            // What is left out has no value: the default is the scheme's own.
            true => changed == ["routes[chat].signature.tolerance"],
            false => changed.is_empty(),
        };
        assert!(is_expected, "{to}: {changed:?}");
    }
}

#[test]
fn a_change_is_named_by_its_key_and_states_whether_it_needs_a_restart() {
    let reloads: &[(&str, &str, &[&str])] = &[
        ("60s", "61s", &["routes[chat].body_timeout"]),
        ("cache: {}", "cache: {ttl: 2h}", &["routes[chat].cache.ttl"]),
        ("cache: {}, ", "", &["routes[chat].cache"]),
        ("s3cret", "other", &["routes[chat].signature.secrets"]),
        (
            "hmac, secrets",
            "bearer, secrets",
            &["routes[chat].signature.scheme"],
        ),
        ("1/s", "2/s", &["routes[rest].rate_limits[l].rate"]),
        ("http://b", "http://c", &["backends[b].endpoints"]),
        ("50%", "100%", &["events.sample"]),
        ("50%}", "50%}\nalerts: {window: 6m}", &["alerts.window"]),
        (
            "name: rest, path: /*",
            "name: all, path: /*",
            &["routes[rest]", "routes[all]"],
        ),
    ];
    for (from, to, expected) in reloads {
        let (changed, needs_restart) = replaced(from, to);
        assert_eq!(changed, *expected, "{from} -> {to}");
        assert!(needs_restart.is_empty(), "{needs_restart:?}");
    }
    let restarts: &[(&str, &str, &[&str])] = &[
        ("127.0.0.1:8080", "127.0.0.1:8090", &["listen[0].address"]),
        ("data/e.ndjson", "data/f.ndjson", &["events.file.path"]),
        ("file: {path: data/e.ndjson}, ", "", &["events.file"]),
        ("50%", "50%, environment: test", &["events.environment"]),
        (
            "50%}",
            "50%}\nalerts: {console_url: 'http://a'}",
            &["alerts.console_url"],
        ),
    ];
    for (from, to, expected) in restarts {
        let (changed, needs_restart) = replaced(from, to);
        assert_eq!(changed, *expected, "{from} -> {to}");
        assert_eq!(needs_restart, *expected, "{from} -> {to}");
    }
}

#[test]
fn routes_in_another_order_are_a_change_of_the_list() {
    let (changed, _) = changes(|text| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.swap(3, 4);
        lines.join("\n")
    });
    assert_eq!(changed, ["routes"]);
}

#[test]
fn changes_show_no_secret() {
    let (old, new) = (valid(BASE), valid(&BASE.replace("s3cret", "0ther")));
    for shown in [format!("{old:?}"), format!("{:?}", diff(&old, &new))] {
        assert!(
            !shown.contains("s3cret") && !shown.contains("0ther"),
            "{shown}"
        );
    }
}

#[test]
fn the_schema_states_of_every_key_whether_a_reload_suffices() {
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap();
    let mappings = definitions.values().chain([&schema]);
    let mut keys = 0;
    for mapping in mappings {
        for (key, property) in mapping["properties"].as_object().into_iter().flatten() {
            assert!(property["x-reload"].is_boolean(), "{key}");
            keys += 1;
        }
    }
    assert!(keys > 150, "{keys}");
    assert_eq!(schema["properties"]["listen"]["x-reload"], false);
    assert_eq!(
        schema["$defs"]["Route"]["properties"]["cache"]["x-reload"],
        true
    );
}

#[test]
fn equal_files_make_equal_configurations() {
    assert_eq!(valid(FULL).config, valid(FULL).config);
    assert_eq!(valid(BASE).config, valid(BASE).config);
    for (from, to) in [
        ("60s", "61s"),
        ("s3cret", "other"),
        ("50%", "51%"),
        ("/chat", "/chats"),
    ] {
        let other = valid(&BASE.replace(from, to)).config;
        assert_ne!(valid(BASE).config, other, "{to}");
    }
}
