//! Invalid arguments are reported before the first request, with exit code 2.

use std::path::Path;

use super::{output_text, weir_load};
use crate::server::{Behaviour, TestServer};

/// A placeholder for the URL of a reachable target.
const URL: &str = "URL";

/// Arguments of `run`, and a part of the error.
const RUN_CASES: &[(&[&str], &str)] = &[
    (&["--target", "http://127.0.0.1:1"], "cannot connect to"),
    (&["--target", "127.0.0.1:1"], "expected a URL such as"),
    (
        &["--target", "http://u:secret@127.0.0.1:1"],
        "without user name and password",
    ),
    // Scenarios and configurations.
    (&["--scenario", "chatt"], "expected one of chat, stream"),
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
    (&["--rate", "0/s"], "no request is due"),
    (&["--rate", "1/h", "--duration", "1s"], "no request is due"),
    (&["--duration", "0"], "--duration"),
    (&["--duration", "0s"], "a duration above 0"),
    (&["--timeout", "0s"], "a duration above 0"),
    (&["--users", "0"], "--users"),
    (&["--rate", "0/s..9/s", "--warm-up", "1s"], "--warm-up"),
    (&["--question-bytes", "99999999999"], "at most"),
    (
        &["--spikes", "10/s:1ms/2ms", "--duration", "100h"],
        "--spikes",
    ),
    // Thresholds.
    (&["--slo", "p99"], "examples: p99<800ms"),
    (&["--slo", "p99<800"], "examples: p99<800ms"),
    (&["--slo", "speed<1s"], "examples: p99<800ms"),
    (&["--slo", "added_p99<5ms"], "--direct"),
    (&["--slo", "caht:p99<1s"], "has no requests named caht"),
    (
        &["--scenario", "own.yaml", "--slo", "b:p99<1s"],
        "named b, only a",
    ),
    (&["--baseline", "none.json"], "none.json"),
    (&["--tolerance", "5%"], "--baseline"),
    // Flags that have no effect.
    (&["--query", "*"], "--query requires --scenario replay"),
    (&["--speed", "2"], "--speed requires --scenario replay"),
    (
        &["--events", "e.ndjson"],
        "--events requires --scenario replay",
    ),
    (&["--events-api-key", "k"], "--events-api-key requires"),
    (&["--admin-token", "t"], "--admin-token requires --admin"),
    (
        &["--ca-file", "own.yaml"],
        "--ca-file requires an https:// URL",
    ),
    (
        &["--scenario", "own.yaml", "--repeats", "9%"],
        "--repeats only applies to",
    ),
    (
        &["--scenario", "own.yaml", "--question-bytes", "9"],
        "--question-bytes only applies to",
    ),
    (&["--scenario", "replay"], "requires --events"),
    (
        &["--scenario", "replay", "--events", "none.ndjson"],
        "none.ndjson",
    ),
    (
        &["--scenario", "replay", "--events", "e", "--query", "*"],
        "--query requires --events with the URL",
    ),
    (
        &["--scenario", "replay", "--events", "e", "--rate", "9/s"],
        "--rate cannot be used with --scenario replay",
    ),
    (
        &["--scenario", "replay", "--events", "e", "--duration", "9s"],
        "--duration cannot be used with --scenario replay",
    ),
    (
        &["--scenario", "replay", "--events", "e", "--direct", URL],
        "--direct cannot be used with --scenario replay",
    ),
    (&["--admin", URL], "does not contain weir's metrics"),
    // Files that cannot be written.
    (
        &["--report", "none/out.html"],
        "the directory none does not exist",
    ),
    (
        &["--json", "none/out.json"],
        "the directory none does not exist",
    ),
    (
        &["--junit", "none/out.xml"],
        "the directory none does not exist",
    ),
    (&["--report", "."], "is a directory"),
    (&["--report", "own.yaml/x"], "cannot be written"),
    (
        &["--report", "a", "--json", "a"],
        "--report and --json are both a",
    ),
];

/// Arguments of `capacity` in addition to a threshold, and a part of the error.
const CAPACITY_CASES: &[(&[&str], &str)] = &[
    (&["--scenario", "chatt"], "expected one of chat, stream"),
    (&["--scenario", "replay"], "--scenario replay"),
    (
        &["--scenario", "own.yaml", "--repeats", "9%"],
        "--repeats only applies to",
    ),
    (&["--config", "none.yaml"], "none.yaml"),
    (
        &["--report", "none/out.html"],
        "the directory none does not exist",
    ),
    (
        &["--json", "none/out.json"],
        "the directory none does not exist",
    ),
    (&["--duration", "0s"], "a duration above 0"),
    (&["--from", "0/s"], "a single rate such as 50/s"),
    (&["--from", "9/s", "--to", "1/s"], "more than --to"),
    (&["--headroom", "95%"], "--headroom"),
    (
        &["--slo", "added_p99<1ms"],
        "only measured by weir-load run",
    ),
];

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("a file");
    };
    write("own.yaml", "- {name: a, path: /a}\n");
    write("bad.yaml", "- {name: a, path: /a, wieght: 1}\n");
    directory
}

fn assert_rejected(command: &str, url: &str, arguments: &[&str], expected: &str, directory: &Path) {
    let mut all = vec![command];
    if !arguments.contains(&"--target") {
        all.extend(["--target", url]);
    }
    let given = arguments.iter().copied();
    all.extend(given.map(|one| if one == URL { url } else { one }));
    let output = weir_load(&all, directory);
    let text = output_text(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains(expected), "{arguments:?}: {text}");
}

#[test]
fn invalid_arguments_of_run_are_rejected() {
    let directory = directory();
    let server = TestServer::start(Behaviour::Immediate);
    for (arguments, expected) in RUN_CASES {
        assert_rejected("run", &server.url, arguments, expected, directory.path());
    }
    // One case fetched the metrics of weir; all others failed before the first request.
    assert_eq!(server.requests(), 1);
}

#[test]
fn invalid_arguments_of_capacity_are_rejected() {
    let directory = directory();
    let server = TestServer::start(Behaviour::Immediate);
    for (arguments, expected) in CAPACITY_CASES {
        let arguments = [&["--slo", "p99<1s"], *arguments].concat();
        assert_rejected(
            "capacity",
            &server.url,
            &arguments,
            expected,
            directory.path(),
        );
    }
    assert_eq!(
        server.requests(),
        0,
        "they are rejected before the first request"
    );
}

/// An environment variable is set for every run, and does not count as a given flag.
#[test]
fn environment_variables_for_other_runs_are_ignored() {
    let directory = directory();
    let server = TestServer::start(Behaviour::Immediate);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .args([
            "run",
            "--target",
            &server.url,
            "--rate",
            "20/s",
            "--duration",
            "1s",
        ])
        .env("WEIR_ADMIN_TOKEN", "t")
        .env("WEIR_EVENTS_API_KEY", "k")
        .current_dir(directory.path())
        .output()
        .expect("weir-load starts");
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
}

/// Requests over a rate limit of the target are errors, which is known in advance.
#[test]
fn a_rate_above_the_rate_limit_is_warned_about() {
    let directory = directory();
    let server = TestServer::start(Behaviour::Immediate);
    let config = "backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes: [{name: chat, path: /v1/*, backend: a, signature: {scheme: hmac, clients: [{name: w, secrets: [s]}, {name: other, secrets: [t]}]}, rate_limits: [{name: tight, rate: 1/s, by: client, clients: [other]}, {name: per-client, rate: 20/s, by: client}]}]
";
    std::fs::write(directory.path().join("weir.yaml"), config).expect("a file");
    let run = |rate: &str| {
        let all = [
            "run",
            "--target",
            &server.url,
            "--config",
            "weir.yaml",
            "--duration",
            "1s",
            "--rate",
            rate,
        ];
        output_text(&weir_load(&all, directory.path()))
    };
    let text = run("50/s");
    assert!(
        text.contains(
            "warning: the route chat allows 20/s from this client (rate limit per-client)"
        ),
        "{text}"
    );
    let text = run("20/s");
    assert!(!text.contains("rate limit"), "{text}");
}
