//! JUnit XML for CI: a test case for each threshold, for each regression, and for an interrupted test.

use std::fmt::Write as _;

use super::escape::escaped;
use super::run_report::Report;

/// A test case: its name, and why it failed.
struct TestCase {
    name: String,
    failure: Option<String>,
}

/// The report of a run.
#[must_use]
pub fn document(report: &Report) -> String {
    suite(&report.scenario, report.duration_s, &cases(report))
}

fn suite(scenario: &str, time_s: f64, cases: &[TestCase]) -> String {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let scenario = escaped(scenario);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"weir-load {scenario}\" tests=\"{}\" failures=\"{failures}\" time=\"{time_s:.3}\">\n",
        cases.len(),
    );
    for TestCase { name, failure } in cases {
        let name = escaped(name);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    <testcase classname=\"weir-load.{scenario}\" name=\"{name}\" time=\"{time_s:.3}\""
        );
        let _ = match failure {
            None => writeln!(text, "/>"),
            Some(reason) => writeln!(
                text,
                ">\n      <failure message=\"{}\"/>\n    </testcase>",
                escaped(reason)
            ),
        };
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

/// The report of a test that could not run.
#[must_use]
pub fn could_not_run(scenario: &str, reason: &str) -> String {
    let case = TestCase {
        name: "the test runs".to_owned(),
        failure: Some(reason.to_owned()),
    };
    suite(scenario, 0.0, &[case])
}

fn cases(report: &Report) -> Vec<TestCase> {
    let thresholds = report.slos.iter().map(|slo| TestCase {
        name: slo.slo.clone(),
        failure: (!slo.ok).then(|| {
            let note = slo.note.as_ref().map(|note| format!(" ({note})"));
            format!("{} is {}{}", slo.slo, slo.shown, note.unwrap_or_default())
        }),
    });
    let regressions = report.regressions.iter().map(|regression| TestCase {
        name: format!("baseline: {}", regression.name),
        failure: Some(regression.to_string()),
    });
    let interrupted = report.interrupted_after_s.map(|after_s| TestCase {
        name: "the test completes".to_owned(),
        failure: Some(format!("the test was interrupted after {after_s:.1} s")),
    });
    thresholds.chain(regressions).chain(interrupted).collect()
}
