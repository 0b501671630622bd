//! What the documents say of the load tester is so.

use std::path::{Path, PathBuf};

use clap::{Args as _, Command};
use weir_load::capacity::Capacity;
use weir_load::run::Run;

use super::{json, said, weir_load};
use crate::server::{Assistant, Manner};

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

/// The calls of the load tester, as a shell would split them.
fn calls(text: &str) -> Vec<Vec<String>> {
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
fn every_call_in_the_documents_is_one() {
    let mut seen = 0;
    for path in ["README.md", "README.zh-CN.md", "docs/load-testing.md"] {
        for words in calls(&read(path)) {
            let command = match words[0].as_str() {
                "run" => Run::augment_args(Command::new("run")),
                "capacity" => Capacity::augment_args(Command::new("capacity")),
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

/// Whoever pastes both must not see errors that are none of the assistant.
#[test]
fn the_load_test_of_the_readme_stays_within_its_own_limit() {
    for path in ["README.md", "README.zh-CN.md"] {
        let text = read(path);
        let limit = text
            .split("rate: ")
            .nth(1)
            .and_then(|rest| rest.split("/s").next());
        let limit: f64 = limit.and_then(|limit| limit.parse().ok()).expect("a limit");
        let calls = calls(&text);
        let chat = calls
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
fn the_schema_in_the_documents_is_the_one_that_is_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = weir_load(&["schema"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        read("docs/scenario.schema.json"),
        "write it anew: cargo run -p weir-load -- schema > docs/scenario.schema.json"
    );
}

#[test]
fn the_scenario_in_the_documents_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let well = Assistant::start(Manner::AtOnce);
    let text = read("docs/load-testing.md");
    let yaml = blocks(&text, "yaml");
    let scenario = yaml
        .iter()
        .find(|block| block.contains("weight:"))
        .expect("a scenario");
    // It is signed for a route that no configuration of this test has.
    let unsigned: Vec<&str> = scenario
        .lines()
        .filter(|line| !line.contains("route:"))
        .collect();
    std::fs::write(folder.path().join("own.yaml"), unsigned.join("\n")).expect("a file");
    let common = [
        "run",
        "--target",
        &well.url,
        "--scenario",
        "own.yaml",
        "--json",
        "out.json",
    ];
    let more = ["--rate", "50/s", "--duration", "2s"];
    let output = weir_load(&[&common[..], &more].concat(), folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(json(folder.path())["requests"], 100);
}
