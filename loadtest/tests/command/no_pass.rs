//! What must never look like a pass.

use std::time::Duration;

use super::{json, said, weir_load};
use crate::assistant::{Assistant, Manner};

/// Objectives that say nothing of errors, and a target that gives nothing else.
#[test]
fn nothing_but_errors_or_little_that_was_sent_is_no_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusing = Assistant::start(Manner::Refusing);
    let slow = Assistant::start(Manner::Slow(Duration::from_millis(900)));
    let run = |target: &str, more: &[&str]| {
        let common = [
            "run", "--target", target, "--slo", "p99<10s", "--json", "out.json",
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
        &["--direct", &refusing.url, "--slo", "added_p50<1s"],
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

/// What stands for the address of a target that answers.
const WELL: &str = "WELL";

/// Arguments that cannot be run, and what is said of them.
const CANNOT_RUN: &[(&[&str], &str)] = &[
    (&["--target", "http://127.0.0.1:1"], "nobody answers at"),
    (&["--target", "127.0.0.1:1"], "expected an address such as"),
    (
        &["--target", "http://u:secret@127.0.0.1:1"],
        "without name and password",
    ),
    (
        &["--target", WELL, "--scenario", "chatt"],
        "one of chat, stream",
    ),
    (&["--target", WELL, "--scenario", "none.yaml"], "none.yaml"),
    (&["--target", WELL, "--scenario", "abuse"], "needs --config"),
    (&["--target", WELL, "--config", "none.yaml"], "none.yaml"),
    (&["--target", WELL, "--slo", "added_p99<5ms"], "--direct"),
    (
        &["--target", WELL, "--rate", "0/s..9/s", "--warm-up", "1s"],
        "--warm-up",
    ),
    (
        &["--target", WELL, "--question-bytes", "99999999999"],
        "at most",
    ),
    (
        &[
            "--target",
            WELL,
            "--spikes",
            "10/s:1ms/2ms",
            "--duration",
            "100h",
        ],
        "--spikes",
    ),
    (&["--target", WELL, "--admin", WELL], "no metrics of weir's"),
    (&["--target", WELL, "--slo", "p99"], "such as p99<800ms"),
    (&["--target", WELL, "--rate", "fast"], "a rate such as 50/s"),
    (&["--target", WELL, "--baseline", "none.json"], "none.json"),
];

#[test]
fn a_load_test_that_cannot_run_is_no_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let well = Assistant::start(Manner::AtOnce);
    for (arguments, told) in CANNOT_RUN {
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| match *argument {
                WELL => well.url.as_str(),
                other => other,
            })
            .collect();
        let output = weir_load(&[&["run"], &arguments[..]].concat(), folder.path());
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            said(&output)
        );
        assert!(output.stdout.is_empty());
        assert!(!said(&output).contains("secret"), "{}", said(&output));
        assert!(
            said(&output).contains(told),
            "{arguments:?}: {}",
            said(&output)
        );
    }
}
