//! JUnit's XML, as continuous integration shows it: one case for each objective, one for each figure that
//! got worse since the baseline, and one for a test that did not come to its end.

use std::fmt::Write as _;

use super::Report;

/// A case: its name, and what failed.
struct Case {
    name: String,
    failure: Option<String>,
}

/// The document.
#[must_use]
pub fn document(report: &Report) -> String {
    suite(&report.scenario, report.duration_s, &cases(report))
}

fn suite(scenario: &str, time_s: f64, cases: &[Case]) -> String {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let scenario = escaped(scenario);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"weir-load {scenario}\" tests=\"{}\" failures=\"{failures}\" time=\"{time_s:.3}\">\n",
        cases.len(),
    );
    for Case { name, failure } in cases {
        let name = escaped(name);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    <testcase classname=\"weir-load.{scenario}\" name=\"{name}\" time=\"{time_s:.3}\""
        );
        let _ = match failure {
            None => writeln!(text, "/>"),
            Some(why) => writeln!(
                text,
                ">\n      <failure message=\"{}\"/>\n    </testcase>",
                escaped(why)
            ),
        };
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

/// The document of a test that could not run.
#[must_use]
pub fn could_not_run(scenario: &str, why: &str) -> String {
    let case = Case {
        name: "it runs".to_owned(),
        failure: Some(why.to_owned()),
    };
    suite(scenario, 0.0, &[case])
}

fn cases(report: &Report) -> Vec<Case> {
    let objectives = report.slos.iter().map(|slo| Case {
        name: slo.slo.clone(),
        failure: (!slo.ok).then(|| {
            let note = slo.note.as_ref().map(|note| format!(" ({note})"));
            format!("{} is {}{}", slo.slo, slo.shown, note.unwrap_or_default())
        }),
    });
    let worse = report.worse.iter().map(|worse| Case {
        name: format!("baseline: {}", worse.figure),
        failure: Some(worse.to_string()),
    });
    let interrupted = report.interrupted_after_s.map(|after_s| Case {
        name: "it runs to its end".to_owned(),
        failure: Some(format!("it was interrupted after {after_s:.1} s")),
    });
    objectives.chain(worse).chain(interrupted).collect()
}

pub(super) fn escaped(text: &str) -> String {
    // XML has no way to write most control characters (www.w3.org/TR/xml, section 2.2).
    let visible = text.replace(
        |one: char| one.is_control() && one != '\n' && one != '\t',
        "\u{fffd}",
    );
    visible
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
