//! What cannot be run, or makes no sense: said before the first request, with exit code 2.

use std::path::Path;

use super::{said, weir_load};
use crate::server::{Assistant, Manner};

/// What stands for the address of a target that answers.
const WELL: &str = "WELL";

/// Arguments of `run`, and what is said of them.
const CANNOT_RUN: &[(&[&str], &str)] = &[
    (&["--target", "http://127.0.0.1:1"], "nobody answers at"),
    (&["--target", "127.0.0.1:1"], "expected an address such as"),
    (
        &["--target", "http://u:secret@127.0.0.1:1"],
        "without name and password",
    ),
    // Scenarios and configurations.
    (&["--scenario", "chatt"], "one of chat, stream"),
    (&["--scenario", "none.yaml"], "none.yaml"),
    (&["--scenario", "bad.yaml"], "wieght"),
    (&["--scenario", "abuse"], "needs --config"),
    (&["--scenario", "platforms"], "needs --config"),
    (&["--scenario", "burst"], "needs --config"),
    (&["--config", "none.yaml"], "--config none.yaml"),
    (&["--config", "."], "--config ."),
    (&["--config", "bad.yaml"], "bad.yaml"),
    (&["--ca-file", "none.pem"], "--ca-file"),
    // Rates, times and numbers.
    (&["--rate", "fast"], "a rate such as 50/s"),
    (&["--rate", "0"], "a rate such as 50/s"),
    (&["--rate", "0/s"], "nothing is due"),
    (&["--rate", "1/h", "--duration", "1s"], "nothing is due"),
    (&["--duration", "0"], "--duration"),
    (&["--duration", "0s"], "more than nothing"),
    (&["--timeout", "0s"], "more than nothing"),
    (&["--users", "0"], "--users"),
    (&["--rate", "0/s..9/s", "--warm-up", "1s"], "--warm-up"),
    (&["--question-bytes", "99999999999"], "at most"),
    (
        &["--spikes", "10/s:1ms/2ms", "--duration", "100h"],
        "--spikes",
    ),
    // Objectives.
    (&["--slo", "p99"], "such as p99<800ms"),
    (&["--slo", "p99<800"], "such as p99<800ms"),
    (&["--slo", "speed<1s"], "such as p99<800ms"),
    (&["--slo", "added_p99<5ms"], "--direct"),
    (&["--slo", "caht:p99<1s"], "has no requests called caht"),
    (
        &["--scenario", "own.yaml", "--slo", "b:p99<1s"],
        "called b, only a",
    ),
    (&["--baseline", "none.json"], "none.json"),
    (&["--tolerance", "5%"], "--baseline"),
    // Flags of something else.
    (&["--query", "*"], "--query is of --scenario replay"),
    (&["--speed", "2"], "--speed is of --scenario replay"),
    (
        &["--events", "e.ndjson"],
        "--events is of --scenario replay",
    ),
    (&["--events-api-key", "k"], "--events-api-key is of"),
    (&["--admin-token", "t"], "--admin-token is of --admin"),
    (&["--ca-file", "own.yaml"], "--ca-file is of TLS"),
    (
        &["--scenario", "own.yaml", "--repeats", "9%"],
        "--repeats is of",
    ),
    (
        &["--scenario", "own.yaml", "--question-bytes", "9"],
        "--question-bytes is of",
    ),
    (&["--scenario", "replay"], "needs --events"),
    (
        &["--scenario", "replay", "--events", "none.ndjson"],
        "none.ndjson",
    ),
    (
        &["--scenario", "replay", "--events", "e", "--query", "*"],
        "--query is of events in an index",
    ),
    (
        &["--scenario", "replay", "--events", "e", "--rate", "9/s"],
        "--rate with --scenario replay",
    ),
    (
        &["--scenario", "replay", "--events", "e", "--duration", "9s"],
        "--duration with --scenario replay",
    ),
    (
        &["--scenario", "replay", "--events", "e", "--direct", WELL],
        "--direct with --scenario replay",
    ),
    (&["--admin", WELL], "no metrics of weir's"),
    // Files that cannot be written.
    (&["--report", "none/out.html"], "there is no folder none"),
    (&["--json", "none/out.json"], "there is no folder none"),
    (&["--junit", "none/out.xml"], "there is no folder none"),
    (&["--report", "."], "it is a folder"),
    (&["--report", "own.yaml/x"], "it cannot be written"),
    (
        &["--report", "a", "--json", "a"],
        "--report and --json are both a",
    ),
];

/// The same of `capacity`, with an objective.
const NO_CAPACITY: &[(&[&str], &str)] = &[
    (&["--scenario", "chatt"], "one of chat, stream"),
    (&["--scenario", "replay"], "--scenario replay"),
    (
        &["--scenario", "own.yaml", "--repeats", "9%"],
        "--repeats is of",
    ),
    (&["--config", "none.yaml"], "none.yaml"),
    (&["--report", "none/out.html"], "there is no folder none"),
    (&["--json", "none/out.json"], "there is no folder none"),
    (&["--duration", "0s"], "more than nothing"),
    (&["--from", "0/s"], "one rate such as 50/s"),
    (&["--from", "9/s", "--to", "1/s"], "more than --to"),
    (&["--headroom", "95%"], "--headroom"),
    (&["--slo", "added_p99<1ms"], "known only to run"),
];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    write("own.yaml", "- {name: a, path: /a}\n");
    write("bad.yaml", "- {name: a, path: /a, wieght: 1}\n");
    folder
}

fn assert_refused(command: &str, url: &str, arguments: &[&str], told: &str, folder: &Path) {
    let mut all = vec![command];
    if !arguments.contains(&"--target") {
        all.extend(["--target", url]);
    }
    let given = arguments.iter().copied();
    all.extend(given.map(|one| if one == WELL { url } else { one }));
    let output = weir_load(&all, folder);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {said}");
    assert!(!said.contains("secret"), "{said}");
    assert!(said.contains(told), "{arguments:?}: {said}");
}

#[test]
fn a_load_test_that_cannot_run_is_must_fail() {
    let folder = folder();
    let well = Assistant::start(Manner::AtOnce);
    for (arguments, told) in CANNOT_RUN {
        assert_refused("run", &well.url, arguments, told, folder.path());
    }
    // But for the one that looked for weir's metrics, they were found before the first request.
    assert_eq!(well.requests(), 1);
}

#[test]
fn a_search_that_cannot_run_finds_nothing() {
    let folder = folder();
    let well = Assistant::start(Manner::AtOnce);
    for (arguments, told) in NO_CAPACITY {
        let arguments = [&["--slo", "p99<1s"], *arguments].concat();
        assert_refused("capacity", &well.url, &arguments, told, folder.path());
    }
    assert_eq!(
        well.requests(),
        0,
        "they were found before the first request"
    );
}

/// A variable of the environment is there for every run, and no flag that somebody gave.
#[test]
fn what_the_environment_sets_for_other_runs_is_no_mistake() {
    let folder = folder();
    let well = Assistant::start(Manner::AtOnce);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .args([
            "run",
            "--target",
            &well.url,
            "--rate",
            "20/s",
            "--duration",
            "1s",
        ])
        .env("WEIR_ADMIN_TOKEN", "t")
        .env("WEIR_EVENTS_API_KEY", "k")
        .current_dir(folder.path())
        .output()
        .expect("weir-load starts");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// What is over a limit of the target is an error, and known before.
#[test]
fn more_than_the_target_takes_is_told_before() {
    let folder = folder();
    let well = Assistant::start(Manner::AtOnce);
    let config = "backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes: [{name: chat, path: /v1/*, backend: a, signature: {scheme: hmac, clients: [{name: w, secrets: [s]}, {name: other, secrets: [t]}]}, rate_limits: [{name: tight, rate: 1/s, by: client, clients: [other]}, {name: per-client, rate: 20/s, by: client}]}]
";
    std::fs::write(folder.path().join("weir.yaml"), config).expect("a file");
    let run = |rate: &str| {
        let all = [
            "run",
            "--target",
            &well.url,
            "--config",
            "weir.yaml",
            "--duration",
            "1s",
            "--rate",
            rate,
        ];
        said(&weir_load(&all, folder.path()))
    };
    let told = run("50/s");
    assert!(
        told.contains(
            "warning: the route chat takes 20/s from this client (its rate limit per-client)"
        ),
        "{told}"
    );
    let told = run("20/s");
    assert!(!told.contains("rate limit"), "{told}");
}
