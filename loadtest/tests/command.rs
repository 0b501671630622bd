//! The command as a pipeline sees it: exit codes, figures, and what is said.

#![expect(
    clippy::expect_used,
    reason = "these are tests: what is missing ends them with a message"
)]

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

use server::{Assistant, Manner};

fn weir_load(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("weir-load starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn json(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("out.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn an_interrupted_test_tells_what_it_measured_and_is_must_fail() {
    let folder = tempfile::tempdir().expect("a folder");
    let assistant = Assistant::start(Manner::AtOnce);
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir-load"))
        .args([
            "run",
            "--target",
            &assistant.url,
            "--rate",
            "100/s",
            "--duration",
            "10m",
        ])
        .args([
            "--slo", "p99<1h", "--json", "out.json", "--junit", "out.xml",
        ])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("weir-load starts");
    // The first line of progress says that it runs.
    let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    let signal = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(signal.expect("kill").success());
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("warning: it was interrupted after"), "{told}");
    let report = json(folder.path());
    let figure = |name: &str| report[name].as_f64().expect("a figure");
    assert!(figure("requests") > 0.0);
    // Each was sent or is told to be unsent; none was due before its time.
    assert!((figure("requests") + figure("unsent") - figure("due")).abs() < 0.5);
    assert!(figure("due") <= 100.0 * figure("interrupted_after_s") + 1.0);
    assert_eq!(report["verdict"], "fail");
    let junit = std::fs::read_to_string(folder.path().join("out.xml")).expect("a report");
    assert!(
        junit.contains("name=\"it runs to its end\"") && junit.contains("failures=\"1\""),
        "{junit}"
    );
}

#[test]
fn the_exit_code_says_what_came_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let well = Assistant::start(Manner::AtOnce);
    let failing = Assistant::start(Manner::Refusing);
    let common = ["--rate", "100/s", "--duration", "1s", "--json", "out.json"];
    let run = |target: &str, more: &[&str]| {
        let arguments = [&["run", "--target", target][..], &common[..], more].concat();
        weir_load(&arguments, folder.path())
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
    let output = run(&well.url, &[&slos[..], &files[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = json(folder.path());
    assert_eq!(report["verdict"], "pass");
    assert_eq!(
        (&report["requests"], &report["errors"]),
        (&100.into(), &0.into())
    );
    assert_eq!(report["by_name"]["chat"]["requests"], 100);
    assert_eq!(report["slos"].as_array().map(Vec::len), Some(3));
    assert!(said(&output).contains("say little about this percentile"));
    let html = std::fs::read_to_string(folder.path().join("out.html")).expect("a report");
    assert!(html.contains("<dt>Target</dt>") && html.contains("error_rate&lt;0.5%"));
    let junit = std::fs::read_to_string(folder.path().join("out.xml")).expect("a report");
    assert!(junit.contains("tests=\"3\" failures=\"0\""), "{junit}");
    std::fs::rename(
        folder.path().join("out.json"),
        folder.path().join("old.json"),
    )
    .expect("kept");
    let output = run(&failing.url, &slos);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("FAIL error_rate<0.5% is 100.000 %"));
    assert!(said(&output).contains("error: status 503: 100"));
    let output = run(
        &failing.url,
        &["--baseline", "old.json", "--junit", "out.xml"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("worse than the baseline: error rate was 0.000"));
    // Whoever reads the files and not the exit code is told the same. Times may be worse as well, on a busy machine.
    let report = json(folder.path());
    assert_eq!(report["verdict"], "fail");
    let mut worse = report["worse"].as_array().expect("figures").iter();
    assert!(
        worse.any(|worse| worse["figure"] == "error rate"),
        "{report:#}"
    );
    let junit = std::fs::read_to_string(folder.path().join("out.xml")).expect("a report");
    assert!(
        junit.contains("name=\"baseline: error rate\"") && !junit.contains("failures=\"0\""),
        "{junit}"
    );
}
