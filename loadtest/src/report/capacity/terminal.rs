//! The summary of a capacity search for a terminal.

use std::fmt::Write as _;

use super::{CapacityReport, RatePoint, Replicas};

/// A table of rates, the capacity, and the replicas.
#[must_use]
pub fn summary(report: &CapacityReport) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:>12}{:>12}{:>6}{:>10}{:>12}{:>12}{:>10}",
        "rate", "achieved", "runs", "requests", "p50 ms", "p99 ms", "errors"
    );
    for point in &report.curve {
        let _ = writeln!(
            text,
            "{:>10.1}/s{:>10.1}/s{:>6}{:>10}{:>12.1}{:>12.1}{:>8.3} %  {}",
            point.rate,
            point.achieved_rps,
            point.runs,
            point.requests,
            point.p50_ms,
            point.p99_ms,
            point.error_rate * 100.0,
            point_result(point)
        );
    }
    let _ = write!(text, "\n{}", report.sentence());
    for replicas in &report.replicas {
        let _ = write!(text, "\n{}", replicas_line(replicas));
    }
    text
}

/// The result of a rate.
fn point_result(point: &RatePoint) -> String {
    match (point.passed, point.runs_passed == point.runs) {
        (true, true) => "passed".to_owned(),
        (true, false) => format!("passed in {} of {} runs", point.runs_passed, point.runs),
        (false, _) => point.reasons.join(", "),
    }
}

fn replicas_line(replicas: &Replicas) -> String {
    let bound = if replicas.is_upper_bound {
        "at most "
    } else {
        ""
    };
    let noun = if replicas.count == 1 {
        "replica"
    } else {
        "replicas"
    };
    format!(
        "{:.1}/s needs {bound}{} {noun}, with {:.0} % headroom",
        replicas.rate,
        replicas.count,
        replicas.headroom * 100.0
    )
}
