//! What must never look like a pass.

use std::time::Duration;

use super::{json, said, weir_load};
use crate::server::{Assistant, Manner};

/// Objectives that say nothing of errors, and a target that gives nothing else.
#[test]
fn nothing_but_errors_or_little_that_was_sent_is_must_fail() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusing = Assistant::start(Manner::Refusing);
    let slow = Assistant::start(Manner::Slow(Duration::from_millis(900)));
    let run = |target: &str, more: &[&str]| {
        let common = [
            "run", "--target", target, "--slo", "p99<1h", "--json", "out.json",
        ];
        let load = ["--rate", "50/s", "--duration", "1s"];
        weir_load(&[&common[..], &load, more].concat(), folder.path())
    };
    let output = run(&refusing.url, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("FAIL error_rate<1% is 100.000 % (nobody asked"),
        "{}",
        said(&output)
    );
    // Who asks for errors gets them.
    let output = run(&refusing.url, &["--slo", "error_rate<=100%"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = run(&slow.url, &["--users", "1", "--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("FAIL unsent<1% is"),
        "{}",
        said(&output)
    );
    let report = json(folder.path());
    let sum = report["requests"].as_u64().zip(report["unsent"].as_u64());
    assert_eq!(sum.map(|(sent, unsent)| sent + unsent), Some(50));
    // The backend itself is no yardstick when it fails.
    let well = Assistant::start(Manner::AtOnce);
    let output = run(
        &well.url,
        &["--direct", &refusing.url, "--slo", "added_p50<1h"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("of the requests to --direct 100.0 % failed"),
        "{}",
        said(&output)
    );
    // A stream that is none.
    let output = run(&well.url, &["--scenario", "stream"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("error: no stream: 50"),
        "{}",
        said(&output)
    );
}

/// What weir counts as a failure is one here, by the same name.
#[test]
fn an_error_inside_an_answer_of_200_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let failing = Assistant::start(Manner::FailingInside);
    let arguments = [
        "run",
        "--target",
        &failing.url,
        "--slo",
        "p99<1h",
        "--rate",
        "50/s",
        "--duration",
        "1s",
        "--json",
        "out.json",
    ];
    let output = weir_load(&arguments, folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("error: upstream_error: 50"),
        "{}",
        said(&output)
    );
    assert_eq!(json(folder.path())["errors"], 50);
}

/// A scenario may call its requests what it likes.
#[test]
fn a_name_hides_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusing = Assistant::start(Manner::Refusing);
    std::fs::write(
        folder.path().join("own.yaml"),
        "- {name: direct, path: /bad}\n",
    )
    .expect("a file");
    let arguments = [
        "run",
        "--target",
        &refusing.url,
        "--scenario",
        "own.yaml",
        "--rate",
        "50/s",
    ];
    let more = [
        "--duration",
        "1s",
        "--json",
        "out.json",
        "--slo",
        "error_rate<1%",
    ];
    let output = weir_load(&[&arguments[..], &more].concat(), folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert_eq!(json(folder.path())["errors"], 50);
}

#[test]
fn a_baseline_that_would_let_everything_pass_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let (well, refusing) = (
        Assistant::start(Manner::AtOnce),
        Assistant::start(Manner::Refusing),
    );
    let run = |target: &str, more: &[&str]| {
        let common = [
            "run",
            "--target",
            target,
            "--rate",
            "50/s",
            "--duration",
            "1s",
        ];
        weir_load(&[&common[..], more].concat(), folder.path())
    };
    run(&refusing.url, &["--json", "failed.json"]);
    run(&well.url, &["--json", "well.json"]);
    std::fs::write(
        folder.path().join("capacity.json"),
        "{\"slos\": [\"p99<1s\"]}",
    )
    .expect("a file");
    std::fs::write(folder.path().join("own.yaml"), "- {name: a, path: /a}\n").expect("a file");
    for (arguments, why) in [
        (
            &["--baseline", "failed.json"][..],
            "of its 50 requests 50 failed",
        ),
        (
            &["--baseline", "capacity.json"],
            "no --json of `weir-load run`",
        ),
        (
            &["--baseline", "well.json", "--scenario", "own.yaml"],
            "it is of the scenario chat",
        ),
    ] {
        let output = run(&well.url, arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(why), "{}", said(&output));
    }
    let output = run(&well.url, &["--baseline", "well.json", "--rate", "90/s"]);
    assert!(
        said(&output).contains("warning: the baseline was taken at 50.0/s"),
        "{}",
        said(&output)
    );
}

/// What an earlier run has left is not taken for what this one found.
#[test]
fn a_test_that_cannot_run_leaves_no_old_report() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["out.json", "out.xml"] {
        std::fs::write(folder.path().join(name), "an earlier one").expect("a file");
    }
    let arguments = [
        "run",
        "--target",
        "http://127.0.0.1:1",
        "--json",
        "out.json",
        "--junit",
        "out.xml",
    ];
    assert_eq!(weir_load(&arguments, folder.path()).status.code(), Some(2));
    assert!(!folder.path().join("out.json").exists());
    let junit = std::fs::read_to_string(folder.path().join("out.xml")).expect("a report");
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("nobody answers at"),
        "{junit}"
    );
}

/// Whoever closes without an answer has refused nothing, also where a refusal was expected.
#[test]
fn no_status_is_an_error_whatever_was_expected() {
    let folder = tempfile::tempdir().expect("a folder");
    let closing = Assistant::start(Manner::Closing);
    let config = "backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes: [{name: chat, path: /v1/*, backend: a, body_bytes: 1KiB, signature: {scheme: hmac, clients: [{name: w, secrets: [s]}]}}]
";
    std::fs::write(folder.path().join("weir.yaml"), config).expect("a file");
    let arguments = [
        "run",
        "--target",
        &closing.url,
        "--config",
        "weir.yaml",
        "--scenario",
        "abuse",
    ];
    let more = ["--rate", "50/s", "--duration", "1s", "--json", "out.json"];
    let output = weir_load(&[&arguments[..], &more].concat(), folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report = json(folder.path());
    assert_eq!(
        (&report["errors"], &report["refused"], &report["unanswered"]),
        (&50.into(), &0.into(), &50.into())
    );
    let oversized = &report["by_name"]["abuse:oversized"];
    assert!(oversized["requests"].as_u64() > Some(0), "{report:#}");
    assert_eq!(oversized["errors"], oversized["requests"]);
}

/// More than any machine can send: what is left is counted, and nobody waits for it.
#[test]
fn a_rate_that_nobody_can_send_ends_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let well = Assistant::start(Manner::AtOnce);
    let arguments = [
        "run",
        "--target",
        &well.url,
        "--rate",
        "1000000/s",
        "--duration",
        "1s",
    ];
    // With such a timeout everything would be sent some time, were it not for the end of the test.
    let more = ["--timeout", "1h", "--users", "200", "--json", "out.json"];
    let output = weir_load(&[&arguments[..], &more].concat(), folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report = json(folder.path());
    let count = |name: &str| report[name].as_u64().expect("a count");
    assert_eq!(count("due"), 1_000_000);
    assert_eq!(count("requests") + count("unsent"), count("due"));
    assert!(count("requests") > 0 && count("unsent") > 0);
    assert!(
        said(&output).contains("FAIL unsent<1% is"),
        "{}",
        said(&output)
    );
}
