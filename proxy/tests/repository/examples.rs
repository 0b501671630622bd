//! Whatever users copy from the repository works: configurations, commands, deployments.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::files::{expect_none, files, read};
use crate::markdown::Document;

/// Contains every key, including those of planned features, which cause warnings.
const EVERY_KEY: &str = "deploy/examples/full.yaml";
const SIDECAR: &str = "deploy/kubernetes/sidecar.yaml";
const COMPOSE: &str = "deploy/compose.yaml";
const UNIT: &str = "deploy/systemd/weir.service";

/// Values for the secrets and webhook addresses of an example; other variables are unset, so that their
/// defaults are used.
fn environment(name: &str) -> Option<String> {
    if name.ends_with("_WEBHOOK") {
        return Some("https://example.com/hook".to_owned());
    }
    let secret = ["_KEY", "_SECRET", "_TOKEN"];
    let is_secret = secret.iter().any(|ending| name.ends_with(ending));
    is_secret.then(|| format!("a-unique-value-of-{name}"))
}

/// The documents of a YAML file.
fn yaml(path: &str) -> Vec<Value> {
    let text = read(path);
    let documents = text.split("\n---\n");
    documents
        .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}")))
        .collect()
}

/// The configuration in the sidecar's ConfigMap.
fn sidecar_configuration() -> String {
    let documents = yaml(SIDECAR);
    let text = documents[0]["data"]["weir.yaml"].as_str();
    text.expect("the ConfigMap contains weir.yaml").to_owned()
}

fn drain_of(text: &str, name: &str) -> Duration {
    let loaded = weir::config::parse(text, Path::new(name), &environment);
    loaded
        .unwrap_or_else(|diagnostics| panic!("{name}:\n{diagnostics}"))
        .config
        .drain
}

/// Its YAML is a scenario of the load tester, and covered by the load tester's own tests.
const LOAD_TESTING: &str = "docs/load-testing.md";

#[test]
fn configurations_are_valid_without_warnings() {
    let mut examples: Vec<_> = files("deploy/examples", &["yaml"])
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect();
    examples.push((SIDECAR.to_owned(), sidecar_configuration()));
    let documents = files("", &["md"]).into_iter();
    for path in documents.filter(|path| path != LOAD_TESTING) {
        let text = read(&path);
        let blocks = Document::parse(&text).blocks.into_iter();
        let yaml = blocks.filter(|block| block.language == "yaml");
        examples.extend(yaml.map(|block| (path.clone(), block.text)));
    }
    assert!(
        examples.len() >= 4,
        "found only {} examples",
        examples.len()
    );

    let mut findings = Vec::new();
    for (path, text) in examples {
        match weir::config::parse(&text, Path::new(&path), &environment) {
            Ok(loaded) if path == EVERY_KEY => {
                let exposed = loaded
                    .warnings
                    .iter()
                    .filter(|text| text.contains("also covers the paths around"));
                findings.extend(exposed.map(|warning| format!("{path}: {warning}")));
            }
            Ok(loaded) => findings.extend(
                loaded
                    .warnings
                    .iter()
                    .map(|warning| format!("{path}: {warning}")),
            ),
            Err(diagnostics) => findings.push(diagnostics.to_string()),
        }
    }
    expect_none(&findings);
}

#[test]
fn the_quickstart_configuration_has_ten_lines() {
    for path in ["README.md", "README.zh-CN.md"] {
        let text = read(path);
        let blocks = Document::parse(&text).blocks.into_iter();
        let lengths: Vec<_> = blocks
            .filter(|block| block.language == "yaml")
            .map(|block| block.text.lines().count())
            .collect();
        assert_eq!(lengths, [10], "{path}");
    }
}

#[test]
fn stop_timeouts_exceed_the_drain_period() {
    let drain = drain_of(&sidecar_configuration(), SIDECAR);
    let pod = &yaml(SIDECAR)[1]["spec"]["template"]["spec"];
    let grace_s = pod["terminationGracePeriodSeconds"].as_u64();
    let wait_s: u64 = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1]
        .as_str()
        .and_then(|seconds| seconds.parse().ok())
        .expect("a preStop hook that sleeps");
    assert!(Duration::from_secs(grace_s.expect("a grace period") - wait_s) > drain);

    // Compose and systemd use the default, as the example does.
    let drain = drain_of(&read("deploy/examples/minimal.yaml"), "minimal.yaml");
    let grace = &yaml(COMPOSE)[0]["services"]["weir"]["stop_grace_period"];
    let grace_s = grace.as_str().and_then(|text| text.strip_suffix('s'));
    let grace_s: u64 = grace_s
        .and_then(|text| text.parse().ok())
        .expect("whole seconds");
    assert!(Duration::from_secs(grace_s) > drain);

    let unit = read(UNIT);
    let timeout_s: u64 = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="))
        .and_then(|text| text.parse().ok())
        .expect("whole seconds");
    assert!(Duration::from_secs(timeout_s) > drain);
}

/// The output of `weir ... --help`.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(arguments)
        .arg("--help")
        .output()
        .expect("weir starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The arguments of each call of `weir` in a document, up to a comment or a pipe.
fn calls(document: &Document<'_>) -> Vec<Vec<String>> {
    let spans = document.code_spans().into_iter().map(str::to_owned);
    let lines = document.commands().into_iter().chain(spans);
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let is_weir = words.next()?.rsplit('/').next()? == "weir";
            let ends = |word: &&str| !matches!(*word, "#" | "|" | ">" | "&&");
            is_weir.then(|| words.take_while(ends).map(str::to_owned).collect())
        })
        .filter(|words: &Vec<_>| !words.is_empty())
        .collect()
}

#[test]
fn commands_and_their_flags_exist() {
    let known = help(&[]);
    let mut seen = 0;
    let mut findings = Vec::new();
    for path in files("", &["md"]) {
        let text = read(&path);
        for call in calls(&Document::parse(&text)) {
            seen += 1;
            let command = call[0].as_str();
            let listed = known
                .lines()
                .any(|line| line.split_whitespace().next() == Some(command));
            if !listed {
                findings.push(format!("{path}: command weir {command} does not exist"));
                continue;
            }
            let flags = help(&[command]);
            let unknown = call
                .iter()
                .filter(|word| word.starts_with("--") && !flags.contains(word.as_str()));
            findings
                .extend(unknown.map(|flag| format!("{path}: weir {command} has no flag {flag}")));
        }
    }
    assert!(seen > 4, "found only {seen} calls of weir");
    expect_none(&findings);
}

#[test]
fn deployments_use_existing_commands_and_flags() {
    let listed = help(&[]);
    let pod = &yaml(SIDECAR)[1]["spec"]["template"]["spec"]["containers"];
    let compose = &yaml(COMPOSE)[0]["services"]["assistant"]["command"];
    for arguments in [&pod[0]["args"], &pod[1]["args"], compose] {
        let command = arguments[0].as_str().expect("a command");
        assert!(listed.contains(command), "no command weir {command}");
        let flag = arguments[1].as_str().expect("a flag");
        assert!(help(&[command]).contains(flag), "weir {command} {flag}");
    }
}
