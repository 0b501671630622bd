//! The command as CI sees it: exit codes, results and messages.

#![expect(clippy::expect_used, reason = "a test fails with the message")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

#[path = "command/capacity.rs"]
mod capacity;
#[path = "command/documents.rs"]
mod documents;
#[path = "command/invalid_input.rs"]
mod invalid_input;
#[path = "command/must_fail.rs"]
mod must_fail;
#[path = "command/server.rs"]
mod server;
#[path = "command/stall.rs"]
mod stall;

use server::{Behaviour, TestServer};

fn weir_load(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("weir-load starts")
}

fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn json(directory: &Path) -> Value {
    let text = std::fs::read_to_string(directory.join("out.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn an_interrupted_test_reports_its_results_and_does_not_pass() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = TestServer::start(Behaviour::Immediate);
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .args([
            "run",
            "--target",
            &server.url,
            "--rate",
            "100/s",
            "--duration",
            "10m",
        ])
        .args([
            "--slo", "p99<1h", "--json", "out.json", "--junit", "out.xml",
        ])
        .current_dir(directory.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("weir-load starts");
    // The first line of progress shows that the test is running.
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    let signal = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(signal.expect("kill").success());
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(2));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("warning: the test was interrupted after"),
        "{stdout}"
    );
    let report = json(directory.path());
    let value = |name: &str| report[name].as_f64().expect("a figure");
    assert!(value("requests") > 0.0);
    // Each request was sent or is reported as unsent; none was due early.
    assert!((value("requests") + value("unsent") - value("due")).abs() < 0.5);
    assert!(value("due") <= 100.0 * value("interrupted_after_s") + 1.0);
    assert_eq!(report["verdict"], "fail");
    let junit = std::fs::read_to_string(directory.path().join("out.xml")).expect("a report");
    assert!(
        junit.contains("name=\"the test completes\"") && junit.contains("failures=\"1\""),
        "{junit}"
    );
}

#[test]
fn the_exit_code_and_the_reports_show_the_verdict() {
    let directory = tempfile::tempdir().expect("a directory");
    let healthy = TestServer::start(Behaviour::Immediate);
    let failing = TestServer::start(Behaviour::Unavailable);
    let common = ["--rate", "100/s", "--duration", "1s", "--json", "out.json"];
    let run = |target: &str, more: &[&str]| {
        let arguments = [&["run", "--target", target][..], &common[..], more].concat();
        weir_load(&arguments, directory.path())
    };
    let slos = [
        "--slo",
        "p99<1h",
        "--slo",
        "error_rate<0.5%",
        "--slo",
        "rps>=0.01",
    ];
    let files = ["--report", "out.html", "--junit", "out.xml"];
    let output = run(&healthy.url, &[&slos[..], &files[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    let report = json(directory.path());
    assert_eq!(report["verdict"], "pass");
    assert_eq!(
        (&report["requests"], &report["errors"]),
        (&100.into(), &0.into())
    );
    assert_eq!(report["by_name"]["chat"]["requests"], 100);
    assert_eq!(report["slos"].as_array().map(Vec::len), Some(3));
    assert!(output_text(&output).contains("this percentile is not meaningful"));
    let html = std::fs::read_to_string(directory.path().join("out.html")).expect("a report");
    assert!(html.contains("<dt>Target</dt>") && html.contains("error_rate&lt;0.5%"));
    let junit = std::fs::read_to_string(directory.path().join("out.xml")).expect("a report");
    assert!(junit.contains("tests=\"3\" failures=\"0\""), "{junit}");
    std::fs::rename(
        directory.path().join("out.json"),
        directory.path().join("old.json"),
    )
    .expect("kept");
    let output = run(&failing.url, &slos);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(output_text(&output).contains("FAIL error_rate<0.5% is 100.000 %"));
    assert!(output_text(&output).contains("error: status 503: 100"));
    let output = run(
        &failing.url,
        &["--baseline", "old.json", "--junit", "out.xml"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(output_text(&output).contains("worse than the baseline: error rate was 0.000"));
    // The files show the same verdict as the exit code. Latencies may be worse as well, on a busy machine.
    let report = json(directory.path());
    assert_eq!(report["verdict"], "fail");
    let mut regressions = report["worse"].as_array().expect("figures").iter();
    assert!(
        regressions.any(|regression| regression["figure"] == "error rate"),
        "{report:#}"
    );
    let junit = std::fs::read_to_string(directory.path().join("out.xml")).expect("a report");
    assert!(
        junit.contains("name=\"baseline: error rate\"") && !junit.contains("failures=\"0\""),
        "{junit}"
    );
}
