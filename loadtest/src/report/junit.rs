//! JUnit's XML: one case for each objective, as continuous integration shows it.

use std::fmt::Write as _;

use super::Report;

/// The document.
#[must_use]
pub fn document(report: &Report) -> String {
    let failures = report.slos.iter().filter(|slo| !slo.ok).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"weir-load {}\" tests=\"{}\" failures=\"{failures}\" time=\"{:.3}\">\n",
        escaped(&report.scenario),
        report.slos.len(),
        report.duration_s
    );
    for slo in &report.slos {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    <testcase classname=\"weir-load.{}\" name=\"{}\" time=\"{:.3}\"",
            escaped(&report.scenario),
            escaped(&slo.slo),
            report.duration_s
        );
        if slo.ok {
            text.push_str("/>\n");
        } else {
            let note = slo.note.clone().unwrap_or_default();
            let _ = writeln!(
                text,
                ">\n      <failure message=\"{} is {}\">{}</failure>\n    </testcase>",
                escaped(&slo.slo),
                escaped(&slo.shown),
                escaped(&note)
            );
        }
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
