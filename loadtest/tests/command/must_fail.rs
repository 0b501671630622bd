//! Results that must never pass.

use std::time::Duration;

use super::{json, output_text, weir_load};
use crate::server::{Behaviour, TestServer};

/// A threshold that does not cover errors, and a target with nothing else.
#[test]
fn errors_and_unsent_requests_fail_by_default() {
    let directory = tempfile::tempdir().expect("a directory");
    let unavailable = TestServer::start(Behaviour::Unavailable);
    let slow = TestServer::start(Behaviour::Slow(Duration::from_millis(900)));
    let run = |target: &str, more: &[&str]| {
        let common = [
            "run", "--target", target, "--slo", "p99<1h", "--json", "out.json",
        ];
        let load = ["--rate", "50/s", "--duration", "1s"];
        weir_load(&[&common[..], &load, more].concat(), directory.path())
    };
    let output = run(&unavailable.url, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("FAIL error_rate<1% is 100.000 % (default threshold"),
        "{}",
        output_text(&output)
    );
    // An explicit threshold replaces the default.
    let output = run(&unavailable.url, &["--slo", "error_rate<=100%"]);
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    let output = run(&slow.url, &["--users", "1", "--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("FAIL unsent<1% is"),
        "{}",
        output_text(&output)
    );
    let report = json(directory.path());
    let sum = report["requests"].as_u64().zip(report["unsent"].as_u64());
    assert_eq!(sum.map(|(sent, unsent)| sent + unsent), Some(50));
    // A failing backend is no baseline.
    let healthy = TestServer::start(Behaviour::Immediate);
    let output = run(
        &healthy.url,
        &["--direct", &unavailable.url, "--slo", "added_p50<1h"],
    );
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("100.0 % of the requests to --direct failed"),
        "{}",
        output_text(&output)
    );
    // A response that should be a stream and is not.
    let output = run(&healthy.url, &["--scenario", "stream"]);
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("error: no stream: 50"),
        "{}",
        output_text(&output)
    );
}

/// Failures are counted as by weir, under the same error code.
#[test]
fn an_error_in_the_body_of_a_200_response_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let failing = TestServer::start(Behaviour::ErrorInBody);
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
    let output = weir_load(&arguments, directory.path());
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert!(
        output_text(&output).contains("error: upstream_error: 50"),
        "{}",
        output_text(&output)
    );
    assert_eq!(json(directory.path())["errors"], 50);
}

/// A scenario may use any name for its requests.
#[test]
fn a_request_named_direct_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let unavailable = TestServer::start(Behaviour::Unavailable);
    std::fs::write(
        directory.path().join("own.yaml"),
        "- {name: direct, path: /bad}\n",
    )
    .expect("a file");
    let arguments = [
        "run",
        "--target",
        &unavailable.url,
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
    let output = weir_load(&[&arguments[..], &more].concat(), directory.path());
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    assert_eq!(json(directory.path())["errors"], 50);
}

#[test]
fn invalid_baselines_are_rejected() {
    let directory = tempfile::tempdir().expect("a directory");
    let (healthy, unavailable) = (
        TestServer::start(Behaviour::Immediate),
        TestServer::start(Behaviour::Unavailable),
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
        weir_load(&[&common[..], more].concat(), directory.path())
    };
    run(&unavailable.url, &["--json", "failed.json"]);
    run(&healthy.url, &["--json", "well.json"]);
    std::fs::write(
        directory.path().join("capacity.json"),
        "{\"slos\": [\"p99<1s\"]}",
    )
    .expect("a file");
    std::fs::write(directory.path().join("own.yaml"), "- {name: a, path: /a}\n").expect("a file");
    for (arguments, reason) in [
        (
            &["--baseline", "failed.json"][..],
            "50 of its 50 requests failed",
        ),
        (
            &["--baseline", "capacity.json"],
            "not a --json report of `weir-load run`",
        ),
        (
            &["--baseline", "well.json", "--scenario", "own.yaml"],
            "its scenario is chat",
        ),
    ] {
        let output = run(&healthy.url, arguments);
        assert_eq!(output.status.code(), Some(2), "{}", output_text(&output));
        assert!(
            output_text(&output).contains(reason),
            "{}",
            output_text(&output)
        );
    }
    let output = run(&healthy.url, &["--baseline", "well.json", "--rate", "90/s"]);
    assert!(
        output_text(&output).contains("warning: the rate of the baseline was 50.0/s"),
        "{}",
        output_text(&output)
    );
}

/// The report of an earlier run must not be mistaken for that of this one.
#[test]
fn a_test_that_cannot_run_removes_old_reports() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["out.json", "out.xml"] {
        std::fs::write(directory.path().join(name), "an earlier report").expect("a file");
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
    assert_eq!(
        weir_load(&arguments, directory.path()).status.code(),
        Some(2)
    );
    assert!(!directory.path().join("out.json").exists());
    let junit = std::fs::read_to_string(directory.path().join("out.xml")).expect("a report");
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("cannot connect to"),
        "{junit}"
    );
}

/// A connection closed without a response is no rejection, even where one is expected.
#[test]
fn a_missing_response_is_always_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let closing = TestServer::start(Behaviour::Closing);
    let config = "backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes: [{name: chat, path: /v1/*, backend: a, body_bytes: 1KiB, signature: {scheme: hmac, clients: [{name: w, secrets: [s]}]}}]
";
    std::fs::write(directory.path().join("weir.yaml"), config).expect("a file");
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
    let output = weir_load(&[&arguments[..], &more].concat(), directory.path());
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    let report = json(directory.path());
    assert_eq!(
        (&report["errors"], &report["refused"], &report["unanswered"]),
        (&50.into(), &0.into(), &50.into())
    );
    let oversized = &report["by_name"]["abuse:oversized"];
    assert!(oversized["requests"].as_u64() > Some(0), "{report:#}");
    assert_eq!(oversized["errors"], oversized["requests"]);
}

/// More than any machine can send: the rest is counted as unsent and not waited for.
#[test]
fn a_rate_that_cannot_be_sent_ends_on_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let healthy = TestServer::start(Behaviour::Immediate);
    let arguments = [
        "run",
        "--target",
        &healthy.url,
        "--rate",
        "1000000/s",
        "--duration",
        "1s",
    ];
    // With this timeout everything would eventually be sent, if the test did not end.
    let more = ["--timeout", "1h", "--users", "200", "--json", "out.json"];
    let output = weir_load(&[&arguments[..], &more].concat(), directory.path());
    assert_eq!(output.status.code(), Some(1), "{}", output_text(&output));
    let report = json(directory.path());
    let count = |name: &str| report[name].as_u64().expect("a count");
    assert_eq!(count("due"), 1_000_000);
    assert_eq!(count("requests") + count("unsent"), count("due"));
    assert!(count("requests") > 0 && count("unsent") > 0);
    assert!(
        output_text(&output).contains("FAIL unsent<1% is"),
        "{}",
        output_text(&output)
    );
}
