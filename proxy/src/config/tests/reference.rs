//! docs/configuration.md lists every key as it is declared.
//!
//! After a change of a key, write it again:
//! `WEIR_WRITE_DOCS=1 cargo test -p weir --lib -- the_reference_lists_every_key`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::*;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");

const INTRODUCTION: &str = "\
# Configuration reference

Every key of `weir.yaml`, with its default and a description. This page is generated from the declarations in the
code, as is the JSON Schema that `weir schema` prints. `deploy/examples/full.yaml` shows the keys in context.

`[]` in a key stands for each item of a list. A key without a default is off, or has the default that its description
gives. The column *change* states when a change of a key takes effect: with a `reload` of the configuration, or only
after a `restart`. A change of the file, of a file that it names with `${file:PATH}`, or of a PEM file of
`backends[].tls` is found within about two seconds; SIGHUP and `POST /api/reload` load the file at once. The response
of the latter, and the log, list the changed keys that wait for a restart.
";

/// Longer defaults are only named.
const DEFAULT_CHARACTERS_MAX: usize = 60;

/// The mapping that the value of a key refers to, and whether the value is a list of them.
fn mapping_in(value: &Value) -> Option<(&str, bool)> {
    if let Some(name) = value["$ref"].as_str() {
        let name = name.rsplit('/').next()?;
        return (name != "Placeholder").then_some((name, false));
    }
    if let Some((name, _)) = value.get("items").and_then(mapping_in) {
        return Some((name, true));
    }
    value["anyOf"].as_array()?.iter().find_map(mapping_in)
}

fn default_of(property: &Value) -> String {
    match property.get("default") {
        None => String::new(),
        Some(Value::Object(mapping)) if mapping.is_empty() => String::new(),
        Some(default) => {
            let text = default
                .as_str()
                .map_or_else(|| default.to_string(), str::to_owned);
            match text.chars().count() > DEFAULT_CHARACTERS_MAX {
                true => "see `weir schema`".to_owned(),
                false => format!("`{text}`"),
            }
        }
    }
}

fn write_keys(text: &mut String, schema: &Value, mapping: &Value, path: &str) {
    let required = mapping["required"].as_array().unwrap();
    let properties: BTreeMap<_, _> = mapping["properties"].as_object().unwrap().iter().collect();
    for (key, property) in properties {
        let key_path = format!("{path}{key}");
        let default = match required.contains(&Value::from(key.as_str())) {
            true => "required".to_owned(),
            false => default_of(property),
        };
        let change = match property["x-reload"].as_bool() {
            Some(true) => "reload",
            Some(false) => "restart",
            None => panic!("{key_path} does not state when a change takes effect"),
        };
        let about = property["description"]
            .as_str()
            .unwrap()
            .replace('|', "\\|");
        writeln!(text, "| `{key_path}` | {default} | {change} | {about} |").unwrap();
        if let Some((name, is_list)) = mapping_in(property) {
            let below = format!("{key_path}{}.", if is_list { "[]" } else { "" });
            write_keys(text, schema, &schema["$defs"][name], &below);
        }
    }
}

fn reference() -> String {
    let (mut text, schema) = (INTRODUCTION.to_owned(), schema());
    text += "\n| key | default | change | description |\n|---|---|---|---|\n";
    write_keys(&mut text, &schema, &schema, "");
    text
}

#[test]
fn the_reference_lists_every_key() {
    let reference = reference();
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::write(REFERENCE, &reference).unwrap();
    }
    let written = std::fs::read_to_string(REFERENCE).unwrap();
    for (written, declared) in written.lines().zip(reference.lines()) {
        assert_eq!(
            written, declared,
            "write docs/configuration.md again with WEIR_WRITE_DOCS=1"
        );
    }
    assert_eq!(written.lines().count(), reference.lines().count());
}

/// What is built at start and lives as long as the process, see `app.rs`: sockets and their limits, the admin API,
/// event sinks, the exporter of spans, notifiers and the state of alerts. A generation replaces everything else.
const PROCESS_PARTS: [&str; 22] = [
    "admin",
    "alerts.alertmanager",
    "alerts.console_url",
    "alerts.feishu",
    "alerts.labels",
    "alerts.state",
    "alerts.webhook",
    "events.audit",
    "events.elasticsearch",
    "events.environment",
    "events.file",
    "events.spool",
    "events.stdout",
    "limits.buffered_bytes",
    "limits.connections",
    "limits.header_bytes",
    "limits.header_timeout",
    "limits.idle_timeout",
    "listen",
    "shutdown",
    "traces.headers",
    "traces.otlp",
];

#[test]
fn keys_of_parts_that_live_as_long_as_the_process_need_a_restart() {
    let reference = reference();
    let rows = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    let mut restart = 0;
    for row in rows {
        let (key, rest) = row.split_once("` | ").unwrap();
        let change = rest.split(" | ").nth(1).unwrap();
        let is_process_part = PROCESS_PARTS.iter().any(|part| {
            let below = key.strip_prefix(part);
            below.is_some_and(|below| below.is_empty() || below.starts_with(['.', '[']))
        });
        let expected = if is_process_part { "restart" } else { "reload" };
        assert_eq!(change, expected, "{key}");
        restart += usize::from(is_process_part);
    }
    assert!(restart > PROCESS_PARTS.len(), "{restart}");
}
