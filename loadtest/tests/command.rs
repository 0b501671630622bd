//! The command as a pipeline sees it: exit codes, figures, and what is said.

#![expect(
    clippy::expect_used,
    reason = "these are tests: what is missing ends them with a message"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

#[path = "command/assistant.rs"]
mod assistant;
#[path = "command/capacity.rs"]
mod capacity;
#[path = "command/no_pass.rs"]
mod no_pass;

use assistant::{Assistant, Manner};

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

/// 200 requests a second for 30 s, against an assistant that stalls for 2 s after 10; and, in
/// milliseconds, what a perfect sender would see of it: whatever was due within the stall waits for its end.
struct Stalled {
    report: Value,
    said: String,
    waits: Vec<f64>,
}

fn stalled(more: &[&str]) -> Stalled {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, length) = (Duration::from_secs(10), Duration::from_secs(2));
    let assistant = Assistant::start(Manner::Stall { from, length });
    let arguments = [
        "run",
        "--target",
        &assistant.url,
        "--rate",
        "200/s",
        "--duration",
        "30s",
        "--slo",
        "p99<800ms",
        "--json",
        "out.json",
    ];
    let output = weir_load(&[&arguments[..], more].concat(), folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let mut waits: Vec<f64> = (0..6000_u32)
        .map(|number| f64::from(number) * 5.0)
        .map(|due_ms| match (10_000.0..12_000.0).contains(&due_ms) {
            true => 12_000.0 - due_ms,
            false => 0.0,
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    Stalled {
        report: json(folder.path()),
        said: said(&output),
        waits,
    }
}

impl Stalled {
    fn assert_truth(&self) {
        let report = &self.report;
        assert_eq!(
            (&report["requests"], &report["unsent"]),
            (&6000.into(), &0.into())
        );
        assert!(self.said.contains("FAIL p99<800ms is"), "{}", self.said);
        for (figure, truth) in [("p99", self.waits[5939]), ("max", self.waits[5999])] {
            let found = report["latency_ms"][figure].as_f64().expect("a figure");
            assert!(
                (found - truth).abs() / truth < 0.05,
                "{figure}: {found} for {truth}"
            );
        }
    }
}

#[test]
fn a_stall_is_seen_by_all_who_had_to_wait() {
    let stalled = stalled(&[]);
    stalled.assert_truth();
    assert!(!stalled.said.contains("warning"), "{}", stalled.said);
}

/// With few users what is due waits for one of them, and its waiting counts; a tester that waits for its
/// answers before it asks again, and counts from when it sent, sees hardly anything of the stall.
#[test]
fn few_users_see_a_stall_as_many_do_and_a_closed_loop_a_tenth_of_it() {
    let stalled = stalled(&["--users", "20"]);
    stalled.assert_truth();
    let closed = stalled.report["service_ms"]["p99"].as_f64();
    let closed = closed.expect("a figure");
    assert!(closed <= stalled.waits[5939] / 10.0, "{closed}");
    assert!(
        stalled
            .said
            .contains("all 20 users were waiting for answers when"),
        "{}",
        stalled.said
    );
}

#[test]
fn an_interrupted_test_tells_what_it_measured_and_is_no_pass() {
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
            "--slo", "p99<5s", "--json", "out.json", "--junit", "out.xml",
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
    let requests = report["requests"].as_u64().expect("a count");
    assert!((300..2000).contains(&requests), "{requests}");
    assert_eq!(
        (&report["verdict"], &report["unsent"]),
        (&"fail".into(), &0.into())
    );
    let junit = std::fs::read_to_string(folder.path().join("out.xml")).expect("a report");
    assert!(
        junit.contains("name=\"it runs to its end\"") && junit.contains("failures=\"1\""),
        "{junit}"
    );
    let offered = report["offered_rps"].as_f64().expect("a rate");
    assert!((offered - 100.0).abs() < 5.0, "{offered}");
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
        "p99<5s",
        "--slo",
        "error_rate<0.5%",
        "--slo",
        "rps>=90",
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
    assert!(html.contains("<svg") && !html.contains("<script") && !html.contains("http-equiv"));
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
    // Whoever reads the files and not the exit code is told the same.
    let report = json(folder.path());
    assert_eq!(
        (&report["verdict"], &report["worse"][0]["figure"]),
        (&"fail".into(), &"error rate".into())
    );
    let junit = std::fs::read_to_string(folder.path().join("out.xml")).expect("a report");
    assert!(
        junit.contains("name=\"baseline: error rate\"") && !junit.contains("failures=\"0\""),
        "{junit}"
    );
}
