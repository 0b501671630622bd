//! A summary that fits a terminal and can be pasted.

use std::fmt::Write as _;

use super::{Latency, Report, Verdict};

/// The summary.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "scenario {} at {} for {:.0} s, seed {}",
        report.scenario, report.target, report.duration_s, report.seed
    );
    let _ = writeln!(
        text,
        "requests {} ({:.1}/s offered, {:.1}/s achieved), errors {} ({:.3} %), unsent {}",
        report.requests,
        report.offered_rps,
        report.achieved_rps,
        report.errors,
        report.error_rate * 100.0,
        report.unsent
    );
    if report.refused + report.limited > 0 {
        let _ = writeln!(
            text,
            "refused as they had to be {}, limited (429) {}",
            report.refused, report.limited
        );
    }
    times(&mut text, report);
    beside(&mut text, report);
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text.push('\n');
    for slo in &report.slos {
        let mark = if slo.ok { "ok  " } else { "FAIL" };
        let note = slo.note.as_ref().map(|note| format!(" ({note})"));
        let _ = writeln!(
            text,
            "{mark} {} is {}{}",
            slo.slo,
            slo.shown,
            note.unwrap_or_default()
        );
    }
    for worse in &report.worse {
        let _ = writeln!(text, "FAIL worse than the baseline: {worse}");
    }
    let verdict = match report.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
    };
    let _ = write!(text, "verdict: {verdict}");
    text
}

/// Times and errors, a row a name.
fn times(text: &mut String, report: &Report) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\n{:<22}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "ms from due", "count", "mean", "p50", "p90", "p95", "p99", "max"
    );
    row(text, "all", &report.latency_ms);
    for (name, named) in &report.by_name {
        row(text, name, &named.latency_ms);
    }
    if let Some(direct) = &report.direct {
        row(text, "past the sidecar", &direct.latency_ms);
        for (kind, count) in &direct.errors_by_kind {
            let _ = writeln!(text, "error past the sidecar: {kind}: {count}");
        }
    }
    for (name, times) in [
        ("first token", &report.first_token_ms),
        ("time a token", &report.token_time_ms),
        ("due to sent", &report.late_ms),
        ("sent to done", &report.service_ms),
    ] {
        if times.count > 0 {
            row(text, name, times);
        }
    }
    for (kind, count) in &report.errors_by_kind {
        let _ = writeln!(text, "error: {kind}: {count}");
    }
}

fn row(text: &mut String, name: &str, times: &Latency) {
    let name: String = name.chars().take(21).collect();
    let _ = writeln!(
        text,
        "{name:<22}{:>9}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}",
        times.count, times.mean, times.p50, times.p90, times.p95, times.p99, times.max
    );
}

/// The figures of both, where weir's were asked for.
fn beside(text: &mut String, report: &Report) {
    let Some(sidecar) = &report.sidecar else {
        return;
    };
    let _ = writeln!(
        text,
        "\n{:<26}{:>10}{:>10}{:>15}",
        "", "here", "weir", "may differ by"
    );
    for one in &sidecar.beside {
        let mark = if one.ok { "" } else { "  DIFFER" };
        let _ = writeln!(
            text,
            "{:<26}{:>10.1}{:>10.1}{:>15.1}{mark}",
            one.figure, one.client, one.weir, one.allowed
        );
    }
    let added = sidecar.seen.overhead_ms_mean;
    let _ = writeln!(text, "weir itself added {added:.3} ms in the mean");
}
