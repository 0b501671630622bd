//! The report of a capacity search as one self-contained HTML file.

use super::{CapacityReport, LimitedBy, RatePoint};
use crate::report::html::chart::{Axis, Chart, ThresholdLine, chart_data, containers};
use crate::report::html::page::page;
use crate::report::html::table::{Align, Cell, Mark, Table};
use crate::report::html::{format, layout};
use crate::slo::{ChartMetric, Slo};

/// The document.
#[must_use]
pub fn document(report: &CapacityReport) -> String {
    let charts = charts(report);
    let mut body = header(report);
    for (heading, part) in [
        ("", tiles(report)),
        ("Results by rate", containers(&charts)),
        ("Rates that were tried", rates(report)),
    ] {
        layout::section(&mut body, heading, &part);
    }
    body.push_str(&layout::footer(
        "Each rate is listed once: requests and errors are the sum of its runs, percentiles the median of its runs (the \
         worse of two). A rate passes if most of its runs do.",
    ));
    let title = format!("weir-load capacity {}", report.scenario);
    page(&title, &body, &chart_data(&charts))
}

fn header(report: &CapacityReport) -> String {
    let title = match (report.capacity_rps, report.is_lower_bound) {
        (None, _) => format!("Capacity of {}: none found", report.scenario),
        (Some(rate), false) => format!("Capacity of {}: {}", report.scenario, format::rate(rate)),
        (Some(rate), true) => {
            format!(
                "Capacity of {}: at least {}",
                report.scenario,
                format::rate(rate)
            )
        }
    };
    let reason = match report.capacity_rps.is_some() && report.limited_by == LimitedBy::Thresholds {
        true => format!("The highest rate that passes {}.", report.slos.join(", ")),
        false => report.sentence(),
    };
    let facts = [
        ("Target", report.target.clone()),
        ("Scenario", report.scenario.clone()),
        ("Thresholds", report.slos.join(", ")),
        ("Each run", format::duration(report.run_s)),
        ("Started", format::date(&report.started_at)),
        (
            "Versions",
            format!("weir-load {}", report.versions.weir_load),
        ),
    ];
    layout::heading(report.verdict, &title, &reason, &facts)
}

/// The capacity, and the replicas for the rates of `--replicas-for`.
fn tiles(report: &CapacityReport) -> String {
    let bound = |is_bound: bool, word: &'static str| if is_bound { word } else { "" };
    let mut tiles = vec![(
        "Capacity".to_owned(),
        report.capacity_rps.map_or_else(
            || "none".to_owned(),
            |rate| {
                format!(
                    "{}{}",
                    bound(report.is_lower_bound, "≥ "),
                    format::rate(rate)
                )
            },
        ),
        "of one replica".to_owned(),
    )];
    let at_capacity = |point: &&RatePoint| Some(point.rate) == report.capacity_rps;
    if let Some(point) = report.curve.iter().find(at_capacity) {
        tiles.push((
            "p99 at capacity".to_owned(),
            format::time(point.p99_ms),
            String::new(),
        ));
    }
    tiles.extend(report.replicas.iter().map(|replicas| {
        (
            format!("Replicas for {}", format::rate(replicas.rate)),
            format!(
                "{}{}",
                bound(replicas.is_upper_bound, "at most "),
                format::count(replicas.count)
            ),
            format!("{} headroom", format::percent(replicas.headroom)),
        )
    }));
    layout::tiles(
        tiles
            .into_iter()
            .map(|(name, value, note)| (Mark::Plain, name, value, note)),
    )
}

fn rates(report: &CapacityReport) -> String {
    let columns = [
        ("Rate", Align::Number),
        ("", Align::Text),
        ("Runs", Align::Number),
        ("Achieved", Align::Number),
        ("Requests", Align::Number),
        ("Errors", Align::Number),
        ("p50 ms", Align::Number),
        ("p90 ms", Align::Number),
        ("p95 ms", Align::Number),
        ("p99 ms", Align::Number),
        ("Reason", Align::Text),
    ];
    let mut table = Table::new(&columns);
    for point in &report.curve {
        let (mark, word) = match point.passed {
            true => (Mark::Good, "✓ passed"),
            false => (Mark::Bad, "✗ failed"),
        };
        let runs = match point.runs_passed == point.runs || !point.passed {
            true => point.runs.to_string(),
            false => format!("{} of {}", point.runs_passed, point.runs),
        };
        let errors = match point.errors {
            0 => Cell::none(),
            some => Cell::marked(
                format!(
                    "{} ({})",
                    format::count(some),
                    format::percent(point.error_rate)
                ),
                Mark::Bad,
            ),
        };
        let cells = vec![
            Cell::new(format::rate(point.rate)),
            Cell::marked(word, mark),
            Cell::new(runs),
            Cell::new(format::rate(point.achieved_rps)),
            Cell::new(format::count(point.requests)),
            errors,
            Cell::new(format::ms(point.p50_ms)),
            Cell::new(format::ms(point.p90_ms)),
            Cell::new(format::ms(point.p95_ms)),
            Cell::new(format::ms(point.p99_ms)),
            Cell::new(point.reasons.join(", ")),
        ];
        table.row(mark, cells);
    }
    table.html()
}

fn charts(report: &CapacityReport) -> Vec<Chart> {
    if report.curve.is_empty() {
        return Vec::new();
    }
    let values = |of: fn(&RatePoint) -> f64| -> Vec<Option<f64>> {
        report.curve.iter().map(|point| Some(of(point))).collect()
    };
    let by_rate = |id, title| Chart {
        xs: report.curve.iter().map(|point| point.rate).collect(),
        at: report.capacity_rps,
        ..Chart::new(id, title, Axis::Rate)
    };
    let mut latency = by_rate("latency", "Latency by rate");
    latency.line("p50", "c1", values(|point| point.p50_ms));
    latency.line("p90", "c2", values(|point| point.p90_ms));
    latency.line("p95", "c3", values(|point| point.p95_ms));
    latency.line("p99", "c4", values(|point| point.p99_ms));
    latency.bounds = bounds(
        report,
        |metric| matches!(metric, ChartMetric::Latency(_)),
        1.0,
    );
    let mut errors = by_rate("errors", "Error rate by rate");
    errors.unit = "%";
    errors.line("errors", "bad", values(|point| point.error_rate * 100.0));
    errors.bounds = bounds(report, |metric| metric == ChartMetric::ErrorRate, 100.0);
    let mut achieved = by_rate("achieved", "Achieved rate");
    achieved.about = "responses per second, compared with the requested rate";
    achieved.unit = "/s";
    achieved.line("requested", "faint", values(|point| point.rate));
    achieved.line("achieved", "good", values(|point| point.achieved_rps));
    vec![latency, errors, achieved]
}

/// The thresholds of a chart.
fn bounds(
    report: &CapacityReport,
    is_shown: impl Fn(ChartMetric) -> bool,
    scale: f64,
) -> Vec<ThresholdLine> {
    let slos = report.slos.iter();
    slos.filter_map(|text| {
        let line = Slo::parse(text).ok()?.chart_threshold()?;
        is_shown(line.metric).then(|| ThresholdLine {
            at: line.bound * scale,
            label: text.clone(),
            ok: report.capacity_rps.is_some(),
            x: None,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::capacity::Replicas;
    use crate::report::capacity::terminal::summary;
    use crate::report::{Verdict, Versions};

    fn report(capacity_rps: Option<f64>, limited_by: LimitedBy) -> CapacityReport {
        let is_lower_bound = limited_by != LimitedBy::Thresholds;
        CapacityReport {
            verdict: match capacity_rps {
                Some(_) => Verdict::Pass,
                None => Verdict::Fail,
            },
            scenario: "<b>chat".to_owned(),
            target: "http://127.0.0.1:1".to_owned(),
            started_at: "2026-11-29T12:00:00Z".to_owned(),
            versions: Versions::with(None),
            run_s: 15.0,
            slos: vec!["p99<1s".to_owned()],
            capacity_rps,
            is_lower_bound,
            limited_by,
            curve: Vec::new(),
            replicas: vec![Replicas {
                rate: 500.0,
                count: 2,
                is_upper_bound: is_lower_bound,
                headroom: 0.2,
            }],
        }
    }

    #[test]
    fn a_capacity_not_limited_by_the_target_is_a_lower_bound() {
        for (limited_by, capacity, replicas, page) in [
            (
                LimitedBy::Thresholds,
                "capacity: 400.0/s with p99<1s",
                "500.0/s needs 2 replicas",
                "Capacity of &lt;b&gt;chat: 400/s",
            ),
            (
                LimitedBy::Sender,
                "capacity: at least 400.0/s with p99<1s; above it the load generator was the bottleneck",
                "500.0/s needs at most 2 replicas",
                "Capacity of &lt;b&gt;chat: at least 400/s",
            ),
            (
                LimitedBy::MaxRate,
                "capacity: at least 400.0/s with p99<1s; no higher rate was tried",
                "500.0/s needs at most 2 replicas",
                "at most 2</b>",
            ),
        ] {
            let report = report(Some(400.0), limited_by);
            let text = summary(&report);
            assert!(text.contains(capacity) && text.contains(replicas), "{text}");
            assert!(document(&report).contains(page), "{page}");
        }
        let text = summary(&report(None, LimitedBy::Sender));
        assert!(text.contains("weir-load, not the target"), "{text}");
        assert!(document(&report(None, LimitedBy::Thresholds)).contains("none found"));
    }
}
