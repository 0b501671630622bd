//! Tables of latencies: by name, and by phase of a request.

use super::format::{count, ms, percent, share};
use super::table::{Align, Cell, Mark, Table};
use crate::report::{LatencySummary, NameSummary, Report};
use crate::slo::{ChartMetric, DIRECT, Slo};

/// The error rate above which a name is highlighted without a threshold of its own.
const ERRORS_MAX: f64 = 0.01;

const LATENCY: [(&str, Align); 7] = [
    ("mean", Align::Number),
    ("p50", Align::Number),
    ("p90", Align::Number),
    ("p95", Align::Number),
    ("p99", Align::Number),
    ("p99.9", Align::Number),
    ("max", Align::Number),
];

/// The columns of [`LATENCY`] that are percentiles.
const QUANTILES: [(usize, f64); 5] = [(1, 0.5), (2, 0.9), (3, 0.95), (4, 0.99), (5, 0.999)];

fn latency(times: &LatencySummary) -> Vec<Cell> {
    let all = [
        times.mean, times.p50, times.p90, times.p95, times.p99, times.p999, times.max,
    ];
    all.map(|value| Cell::new(ms(value))).into()
}

/// A row for each name: first the failed ones, then by number of requests.
pub(super) fn names(report: &Report) -> String {
    if report.requests == 0 {
        return String::new();
    }
    let columns = [
        ("Name", Align::Text),
        ("Requests", Align::Number),
        ("Share", Align::Number),
        ("Errors", Align::Number),
        ("Rejected", Align::Number),
        ("Rate limited", Align::Number),
    ];
    let mut table = Table::new(&[&columns[..], &LATENCY[..]].concat());
    let mut names: Vec<(Mark, &str, &NameSummary)> = report
        .by_name
        .iter()
        .map(|(name, summary)| (mark(report, name, summary), name.as_str(), summary))
        .collect();
    names.sort_by_key(|(mark, _, summary)| {
        (*mark != Mark::Bad, std::cmp::Reverse(summary.requests))
    });
    let is_several = names.len() > 1;
    for (mark, name, summary) in names {
        table.row(
            mark,
            row(report, name, summary, is_several.then_some(report.requests)),
        );
    }
    if let Some(direct) = &report.direct {
        let mut cells = row(report, DIRECT, direct, None);
        if let Some(name) = cells.first_mut() {
            *name = Cell::new("backend, without the sidecar");
        }
        table.row(mark(report, DIRECT, direct), cells);
    }
    format!("<p class=\"note\">In milliseconds.</p>{}", table.html())
}

/// The failed thresholds for this name.
fn failed_of(report: &Report, name: &str) -> Vec<Slo> {
    let failed = report.slos.iter().filter(|slo| !slo.ok);
    let parsed = failed.filter_map(|result| Slo::parse(&result.slo).ok());
    parsed.filter(|slo| slo.name() == Some(name)).collect()
}

/// Highlights a name with a failed threshold or with errors.
fn mark(report: &Report, name: &str, summary: &NameSummary) -> Mark {
    let has_failed = !failed_of(report, name).is_empty();
    match summary.errors {
        _ if has_failed || summary.error_rate > ERRORS_MAX => Mark::Bad,
        0 => Mark::Plain,
        _ => Mark::Warning,
    }
}

fn row(report: &Report, name: &str, summary: &NameSummary, of: Option<u64>) -> Vec<Cell> {
    let some = |number: u64| match number {
        0 => Cell::none(),
        some => Cell::new(count(some)),
    };
    let errors = match summary.errors {
        0 => Cell::none(),
        some => Cell::marked(
            format!("{} ({})", count(some), percent(summary.error_rate)),
            Mark::Bad,
        ),
    };
    let of_all = of.map_or_else(String::new, |all| percent(share(summary.requests, all)));
    let mut cells = vec![
        Cell::new(name),
        Cell::new(count(summary.requests)),
        Cell::new(of_all),
        errors,
        some(summary.rejected),
        some(summary.rate_limited),
    ];
    let mut times = latency(&summary.latency_ms);
    for threshold in failed_of(report, name)
        .iter()
        .filter_map(Slo::chart_threshold)
    {
        let mut quantiles = QUANTILES.into_iter();
        let column = quantiles.find(|(_, q)| threshold.metric == ChartMetric::Latency(Some(*q)));
        if let Some(cell) = column.and_then(|(column, _)| times.get_mut(column)) {
            cell.mark = Mark::Bad;
        }
    }
    cells.extend(times);
    cells
}

/// Latencies of all requests by phase.
pub(super) fn phases(report: &Report) -> String {
    let columns = [("Phase", Align::Text), ("Requests", Align::Number)];
    let mut table = Table::new(&[&columns[..], &LATENCY[..]].concat());
    for (name, times) in [
        ("due to end", &report.latency_ms),
        ("due to sent (send delay)", &report.late_ms),
        ("sent to end (service time)", &report.service_ms),
        ("due to first token", &report.first_token_ms),
        ("between tokens", &report.token_time_ms),
    ] {
        if times.count > 0 {
            let mut cells = vec![Cell::new(name), Cell::new(count(times.count))];
            cells.extend(latency(times));
            table.row(Mark::Plain, cells);
        }
    }
    match report.requests {
        0 => String::new(),
        _ => format!("<p class=\"note\">In milliseconds.</p>{}", table.html()),
    }
}
