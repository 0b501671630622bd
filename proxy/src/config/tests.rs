//! `parse` as a whole: from text to a configuration, warnings or an error.

use std::path::Path;

use super::*;

mod alerts;
mod cache;
mod changes;
mod defaults;
mod hostile;
mod interpolation;
mod kept;
mod reference;
mod secrets;
mod single;
mod warnings;

const FULL: &str = include_str!("../../../deploy/examples/full.yaml");

/// The smallest valid file, in two lines; tests append to it.
const LEAST: &str = "\
backends: [{name: assistant, endpoints: ['http://127.0.0.1:8000']}]
routes: [{name: all, path: '/*', backend: assistant}]
";

fn no_environment(_: &str) -> Option<String> {
    None
}

fn parsed(text: &str) -> Result<LoadedConfig, ConfigError> {
    parse(text, Path::new("weir.yaml"), &no_environment)
}

#[track_caller]
fn valid(text: &str) -> LoadedConfig {
    match parsed(text) {
        Ok(loaded) => loaded,
        Err(error) => panic!("{error}\nin\n{text}"),
    }
}

#[track_caller]
fn invalid(text: &str) -> ConfigError {
    match parsed(text) {
        Ok(_) => panic!("the file is valid:\n{text}"),
        Err(error) => error,
    }
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_file() {
    let text = "\
listen:
  - adress: 0.0.0.0:8080
limits:
  header_timeout: 30x
  connections: many
  connections: 5
admin: {address: 0.0.0.0:8081, token: '${ADMIN_TOKEN}'}
backends:
  - name: assistant
    endpoints: [http://127.0.0.1:8000/v1]
    load_balancing: round_robbin
routes:
  - name: chat
    path: v1/chat
    backend: asistant
    methods: [PSOT]
    signature: {scheme: hmac}
";
    let error = invalid(text);
    let reported: Vec<(usize, usize)> = error
        .list
        .iter()
        .map(|diagnostic| (diagnostic.line, diagnostic.column))
        .collect();
    let expected = [
        (2, 5),   // unknown key `adress`
        (4, 19),  // 30x
        (5, 16),  // many
        (6, 3),   // connections again
        (7, 40),  // ADMIN_TOKEN
        (10, 17), // path in an endpoint
        (11, 21), // round_robbin
        (14, 11), // path without slash
        (15, 14), // asistant
        (16, 15), // PSOT
        (17, 25), // no clients
    ];
    assert_eq!(reported, expected, "{error}");
    let shown = error.to_string();
    assert!(shown.ends_with("11 errors in weir.yaml"), "{shown}");
}

#[test]
fn an_error_is_shown_with_its_line_and_column() {
    let shown = invalid(&format!("{LEAST}limits: {{idle_timeout: 30x}}\n")).to_string();
    let expected = "\
weir.yaml:3:24: expected a duration such as 30s (a whole number and ms, s, m, h or d), found `30x`
    3 | limits: {idle_timeout: 30x}
      |                        ^
1 error in weir.yaml";
    assert_eq!(shown, expected);
}

#[test]
fn a_missing_file_is_one_error_with_a_hint() {
    let error = load(Path::new("/nowhere/weir.yaml")).unwrap_err();
    assert_eq!(error.list.len(), 1);
    let shown = error.to_string();
    assert!(
        shown.starts_with("/nowhere/weir.yaml: cannot be read: no such file"),
        "{shown}"
    );
    assert!(shown.contains("--config FILE"), "{shown}");
}

#[test]
fn a_file_is_loaded_with_the_environment_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.yaml");
    let text =
        format!("{LEAST}events: {{environment: \"${{WEIR_TEST_SURELY_UNSET:-staging}}\"}}\n");
    std::fs::write(&path, text).unwrap();
    assert_eq!(load(&path).unwrap().config.events.environment, "staging");
}

#[test]
fn the_schema_contains_every_key_of_the_full_example() {
    let schema = schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let mut known = std::collections::BTreeSet::new();
    let parts = schema["$defs"].as_object().unwrap();
    let parts = parts.iter().map(|(name, part)| (name.as_str(), part));
    for (name, definition) in parts.chain([("the root", &schema)]) {
        assert!(
            definition["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{name}"
        );
        for (key, property) in definition["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{name}.{key}");
            known.insert(key.clone());
        }
    }
    let mut keys = Vec::new();
    let root = tree::parse(FULL, &mut Diagnostics::default()).unwrap();
    keys_of(&root, &mut keys);
    assert!(keys.len() > 150, "{}", keys.len());
    for key in keys {
        // Headers and models are named by the file, not by the schema.
        let is_own = ["authorization", "glm-4"].contains(&&*key);
        assert!(known.contains(&key) || is_own, "{key}");
    }
    let limits = &schema["$defs"]["Limits"]["properties"];
    assert_eq!(limits["header_bytes"]["default"], "32KiB");
    assert_eq!(limits["connections"]["default"], 10000);
    assert!(limits["header_bytes"].to_string().contains("KiB|MiB"));
    let needed = schema["required"].as_array().unwrap();
    assert_eq!(needed, &["backends", "routes"]);
}

fn keys_of(node: &node::YamlNode, keys: &mut Vec<String>) {
    match &node.kind {
        node::NodeKind::Mapping(entries) => {
            for (key, value) in entries {
                keys.push(key.text.clone());
                keys_of(value, keys);
            }
        }
        node::NodeKind::Sequence(items) => items.iter().for_each(|item| keys_of(item, keys)),
        _ => {}
    }
}
