//! The documentation matches the load generator.

use std::path::{Path, PathBuf};

use clap::{Args as _, Command};
use weir_load::capacity::CapacityArgs;
use weir_load::run::RunArgs;

use super::{json, output_text, weir_load};
use crate::server::{Behaviour, TestServer};

fn read(path: &str) -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let parts = text.split(fence.as_str()).skip(1);
    let blocks = parts.filter_map(|part| part.split("\n```").next());
    blocks.map(str::to_owned).collect()
}

/// The invocations of weir-load, split like a shell.
fn invocations(text: &str) -> Vec<Vec<String>> {
    let joined = blocks(text, "sh").join("\n").replace("\\\n", " ");
    let lines = joined
        .lines()
        .filter_map(|line| line.strip_prefix("weir-load "));
    lines
        .map(|line| {
            let mut words = vec![String::new()];
            let mut is_quoted = false;
            for one in line.split(" #").next().unwrap_or_default().chars() {
                match one {
                    '\'' => is_quoted = !is_quoted,
                    ' ' if !is_quoted => words.push(String::new()),
                    other => words.last_mut().expect("a word").push(other),
                }
            }
            words.retain(|word| !word.is_empty());
            words
        })
        .collect()
}

#[test]
fn documented_invocations_are_valid() {
    let mut seen = 0;
    for path in ["README.md", "README.zh-CN.md", "docs/load-testing.md"] {
        for words in invocations(&read(path)) {
            let command = match words[0].as_str() {
                "run" => RunArgs::augment_args(Command::new("run")),
                "capacity" => CapacityArgs::augment_args(Command::new("capacity")),
                _ => continue,
            };
            let parsed = command.try_get_matches_from(&words);
            assert!(
                parsed.is_ok(),
                "{path}: {words:?}: {}",
                parsed.expect_err("an error")
            );
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen}");
}

/// Otherwise pasting both would produce errors.
#[test]
fn the_load_test_of_the_readme_stays_below_its_rate_limit() {
    for path in ["README.md", "README.zh-CN.md"] {
        let text = read(path);
        let limit = text
            .split("rate: ")
            .nth(1)
            .and_then(|rest| rest.split("/s").next());
        let limit: f64 = limit.and_then(|limit| limit.parse().ok()).expect("a limit");
        let invocations = invocations(&text);
        let chat = invocations
            .iter()
            .find(|words| words.contains(&"--rate".to_owned()))
            .expect("a load test");
        let place = chat
            .iter()
            .position(|word| word == "--rate")
            .expect("its rate");
        let rate = chat[place + 1].trim_end_matches("/s").parse::<f64>();
        assert!(
            rate.expect("a rate") <= limit,
            "{path}: {chat:?} and {limit}/s"
        );
    }
}

#[test]
fn the_documented_schema_is_current() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = weir_load(&["schema"], directory.path());
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        read("docs/scenario.schema.json"),
        "update it: cargo run -p weir-load -- schema > docs/scenario.schema.json"
    );
}

#[test]
fn the_documented_scenario_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = TestServer::start(Behaviour::Immediate);
    let text = read("docs/load-testing.md");
    let yaml = blocks(&text, "yaml");
    let scenario = yaml
        .iter()
        .find(|block| block.contains("weight:"))
        .expect("a scenario");
    // Without the request that is signed for a route: this test has no configuration.
    let unsigned: Vec<&str> = scenario
        .lines()
        .filter(|line| !line.contains("route:"))
        .collect();
    std::fs::write(directory.path().join("own.yaml"), unsigned.join("\n")).expect("a file");
    let common = [
        "run",
        "--target",
        &server.url,
        "--scenario",
        "own.yaml",
        "--json",
        "out.json",
    ];
    let more = ["--rate", "50/s", "--duration", "2s"];
    let output = weir_load(&[&common[..], &more].concat(), directory.path());
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    assert_eq!(json(directory.path())["requests"], 100);
}
