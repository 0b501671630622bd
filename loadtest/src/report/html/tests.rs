use std::time::Duration;

use super::*;
use crate::pacer::{Pacer, TestPhase};
use crate::report::TestInfo;
use crate::request::Outcome;
use crate::schedule::Schedule;
use crate::slo::Slo;
use crate::stats::tests::sample;
use crate::stats::{Sample, StatsRecorder};

/// A hostile name of a request, a target or a scenario.
const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"&";

fn report(slos: &[&str], requests: &[Sample]) -> Report {
    let schedule = Schedule::new(&[(10.0, 10.0)], Duration::from_secs(10), None);
    let pacer = Pacer::new(schedule.expect("a schedule"), 4);
    let recorder = StatsRecorder::new(Duration::from_secs(10));
    for one in requests {
        recorder.record(one, TestPhase::Measured);
    }
    let slos: Vec<Slo> = slos.iter().map(|slo| Slo::parse(slo).expect(slo)).collect();
    let info = TestInfo {
        scenario: HOSTILE,
        target: "http://127.0.0.1:1/<b>",
        rate: "10/s".to_owned(),
        started_at: Duration::from_secs(1_795_953_600),
        weir_version: Some("0.1.0<i>".to_owned()),
        seed: 7,
        slos: &slos,
        users: 4,
        cpu_time: Duration::ZERO,
        wall_time: Duration::from_secs(10),
        warnings: vec![HOSTILE.to_owned()],
        sidecar: None,
    };
    Report::new(info, &pacer, &recorder)
}

fn requests() -> Vec<Sample> {
    let of = |name: &str, ms: u64| sample(name, ms, Outcome::Success);
    let mut all: Vec<Sample> = (1..=100).map(|ms| of("chat", ms)).collect();
    all.extend((1..=50).map(|ms| of(HOSTILE, ms)));
    all.push(Sample {
        status: None,
        error: Some(HOSTILE.to_owned()),
        ..sample("lost", 5, Outcome::Error)
    });
    all
}

#[test]
fn the_header_shows_the_verdict_and_the_parameters() {
    let html = document(&report(&["p99<1s", "chat:p95<50ms"], &requests()));
    for expected in [
        "<p class=\"verdict bad\">failed</p>",
        "chat:p95&lt;50ms is 95.",
        "<dt>Target</dt><dd>http://127.0.0.1:1/&lt;b&gt;</dd>",
        "<dt>Rate</dt><dd>10/s</dd>",
        "<dt>Duration</dt><dd>10 s</dd>",
        "<dt>Started</dt><dd>2026-11-29 12:00:00 UTC</dd>",
        "<dt>Seed</dt><dd>7</dd>",
        "weir 0.1.0&lt;i&gt;</dd>",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    // Failed rows are highlighted: the threshold, its name, and the name with errors.
    assert!(html.contains("<tr class=\"bad\"><td data-head=\"Threshold\">chat:p95&lt;50ms"));
    assert!(html.contains("<tr class=\"bad\"><td data-head=\"Name\">chat"));
    assert!(html.contains("<tr class=\"bad\"><td data-head=\"Name\">lost"));
    assert!(html.contains("class=\"number bad\" data-head=\"p95\">95."));
    // Percentiles by name, and counts with their share.
    for head in ["p50", "p90", "p95", "p99", "p99.9", "max"] {
        let head = format!("<th scope=\"col\" class=\"number\">{head}</th>");
        assert!(html.contains(&head), "{head}");
    }
    assert!(
        html.contains("width:99.338%") && html.contains("99.3 %"),
        "150 of 151"
    );
    assert!(html.contains("<span>no response</span>"));
    assert!(!html.contains("<pre"));
    for empty in ["Rejected", "Rate limited", "Baseline"] {
        assert!(!html.contains(&format!(">{empty}</th>")), "{empty}");
    }
}

#[test]
fn names_are_escaped_in_markup_and_data() {
    let html = document(&report(&["p99<1s"], &requests()));
    let (before, script) = html.split_once("<script type=").expect("the data");
    assert!(
        !before.contains("<script") && !before.contains("<img"),
        "{before}"
    );
    assert_eq!(script.matches("</script>").count(), 3);
    assert!(script.contains("\\u003c/script\\u003e\\u003cscript\\u003ealert(1)"));
    assert!(html.contains("Content-Security-Policy"));
}

#[test]
fn thresholds_are_lines_in_the_charts_of_their_metric() {
    let slos = [
        "p99<1s",
        "chat:p95<50ms",
        "error_rate<5%",
        "rps>=3",
        "first_token_p95<2s",
    ];
    let report = report(&slos, &requests());
    let charts = run_charts::charts(&report);
    let lines = |id: &str| -> Vec<(String, f64)> {
        let chart = charts.iter().find(|chart| chart.id == id);
        let bounds = chart
            .unwrap_or_else(|| panic!("no chart {id}"))
            .bounds
            .iter();
        bounds
            .map(|bound| (bound.label.clone(), bound.at))
            .collect()
    };
    assert_eq!(lines("latency"), [("p99<1s".to_owned(), 1000.0)]);
    assert_eq!(lines("heat"), lines("latency"));
    assert_eq!(lines("errors"), [("error_rate<5%".to_owned(), 5.0)]);
    assert_eq!(lines("load"), [("rps>=3".to_owned(), 3.0)]);
    assert_eq!(
        lines("first-token"),
        [("first_token_p95<2s".to_owned(), 2000.0)]
    );
    let distribution = run_charts::distribution(&report).expect("a chart");
    let bounds = distribution.bounds.iter();
    let labels: Vec<_> = bounds.map(|bound| bound.label.as_str()).collect();
    assert_eq!(labels, ["p99<1s", "chat:p95<50ms"]);
    // All charts share the axis.
    let is_alike = |chart: &chart::Chart| chart.axis == charts[0].axis && chart.xs == charts[0].xs;
    assert!(charts.iter().all(is_alike));
}

#[test]
fn a_test_without_responses_has_a_report() {
    let lost = Sample {
        status: None,
        ..sample("chat", 5, Outcome::Error)
    };
    let html = document(&report(&[], &[lost]));
    assert!(html.contains("No request received a response."));
    assert!(
        !html.contains("<span>p99</span>"),
        "failures have no latency of responses"
    );
    let html = document(&report(&[], &[]));
    assert!(html.contains("No requests were sent."));
    let (text, _) = html.split_once("<script>").expect("the charts");
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}
