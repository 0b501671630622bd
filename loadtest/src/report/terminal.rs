//! The summary of a run for a terminal.

use std::fmt::Write as _;

use super::run_report::{Report, Verdict};
use super::summary::LatencySummary;

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
    if report.rejected + report.rate_limited > 0 {
        let _ = writeln!(
            text,
            "rejected as expected {}, rate limited (429) {}",
            report.rejected, report.rate_limited
        );
    }
    latencies(&mut text, report);
    comparisons(&mut text, report);
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
    for regression in &report.regressions {
        let _ = writeln!(text, "FAIL worse than the baseline: {regression}");
    }
    let verdict = match report.verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
    };
    let _ = write!(text, "verdict: {verdict}");
    text
}

/// Latencies and errors, with a row for each name.
fn latencies(text: &mut String, report: &Report) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\n{:<22}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "latency in ms", "count", "mean", "p50", "p90", "p95", "p99", "max"
    );
    row(text, "all", &report.latency_ms);
    for (name, named) in &report.by_name {
        row(text, name, &named.latency_ms);
    }
    if let Some(direct) = &report.direct {
        row(text, "backend (--direct)", &direct.latency_ms);
        for (kind, count) in &direct.errors_by_kind {
            let _ = writeln!(text, "error of --direct: {kind}: {count}");
        }
    }
    for (name, times) in [
        ("first token", &report.first_token_ms),
        ("time per token", &report.token_time_ms),
        ("send delay", &report.late_ms),
        ("sent to end", &report.service_ms),
    ] {
        if times.count > 0 {
            row(text, name, times);
        }
    }
    for (kind, count) in &report.errors_by_kind {
        let _ = writeln!(text, "error: {kind}: {count}");
    }
}

fn row(text: &mut String, name: &str, times: &LatencySummary) {
    let name: String = name.chars().take(21).collect();
    let _ = writeln!(
        text,
        "{name:<22}{:>9}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}",
        times.count, times.mean, times.p50, times.p90, times.p95, times.p99, times.max
    );
}

/// The counts of weir-load and weir, with `--admin`.
fn comparisons(text: &mut String, report: &Report) {
    let Some(sidecar) = &report.sidecar else {
        return;
    };
    let _ = writeln!(
        text,
        "\n{:<26}{:>10}{:>10}{:>15}",
        "", "weir-load", "weir", "may differ by"
    );
    for one in &sidecar.comparisons {
        let mark = if one.ok { "" } else { "  DIFFER" };
        let _ = writeln!(
            text,
            "{:<26}{:>10.1}{:>10.1}{:>15.1}{mark}",
            one.name, one.client, one.weir, one.allowed
        );
    }
    let added = sidecar.metrics.overhead_ms_mean;
    let _ = writeln!(text, "weir itself added {added:.3} ms on average");
}
