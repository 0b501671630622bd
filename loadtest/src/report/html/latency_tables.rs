//! Tables of times: a row for each name, and for each phase of a request.

use super::format::{count, ms, percent, share};
use super::table::{Align, Cell, Mark, Table};
use crate::report::{ByName, Latency, Report};
use crate::slo::{DIRECT, Figure, Slo};

/// Where no objective says otherwise, so many errors are too many.
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

/// The places of [`LATENCY`] that are percentiles.
const QUANTILES: [(usize, f64); 5] = [(1, 0.5), (2, 0.9), (3, 0.95), (4, 0.99), (5, 0.999)];

fn latency(times: &Latency) -> Vec<Cell> {
    let all = [
        times.mean, times.p50, times.p90, times.p95, times.p99, times.p999, times.max,
    ];
    all.map(|value| Cell::new(ms(value))).into()
}

/// All names, those first that failed or come most often.
pub(super) fn names(report: &Report) -> String {
    if report.requests == 0 {
        return String::new();
    }
    let columns = [
        ("Name", Align::Text),
        ("Requests", Align::Number),
        ("Share", Align::Number),
        ("Errors", Align::Number),
        ("Refused", Align::Number),
        ("Limited", Align::Number),
    ];
    let mut table = Table::new(&[&columns[..], &LATENCY[..]].concat());
    let mut names: Vec<(Mark, &str, &ByName)> = report
        .by_name
        .iter()
        .map(|(name, named)| (mark(report, name, named), name.as_str(), named))
        .collect();
    names.sort_by_key(|(mark, _, named)| (*mark != Mark::Bad, std::cmp::Reverse(named.requests)));
    let is_several = names.len() > 1;
    for (mark, name, named) in names {
        table.row(
            mark,
            row(report, name, named, is_several.then_some(report.requests)),
        );
    }
    if let Some(direct) = &report.direct {
        let mut cells = row(report, DIRECT, direct, None);
        if let Some(name) = cells.first_mut() {
            *name = Cell::new("the backend, without the sidecar");
        }
        table.row(mark(report, DIRECT, direct), cells);
    }
    format!(
        "<p class=\"note\">Times in milliseconds.</p>{}",
        table.html()
    )
}

/// Objectives of this name alone that failed.
fn failed_of(report: &Report, name: &str) -> Vec<Slo> {
    let failed = report.slos.iter().filter(|slo| !slo.ok);
    let parsed = failed.filter_map(|held| Slo::parse(&held.slo).ok());
    parsed.filter(|slo| slo.name() == Some(name)).collect()
}

/// Whether an objective of its own failed, or too much of it.
fn mark(report: &Report, name: &str, named: &ByName) -> Mark {
    let has_failed = !failed_of(report, name).is_empty();
    match named.errors {
        _ if has_failed || named.error_rate > ERRORS_MAX => Mark::Bad,
        0 => Mark::Plain,
        _ => Mark::Doubtful,
    }
}

fn row(report: &Report, name: &str, named: &ByName, of: Option<u64>) -> Vec<Cell> {
    let some = |number: u64| match number {
        0 => Cell::none(),
        some => Cell::new(count(some)),
    };
    let errors = match named.errors {
        0 => Cell::none(),
        some => Cell::marked(
            format!("{} ({})", count(some), percent(named.error_rate)),
            Mark::Bad,
        ),
    };
    let of_all = of.map_or_else(String::new, |all| percent(share(named.requests, all)));
    let mut cells = vec![
        Cell::new(name),
        Cell::new(count(named.requests)),
        Cell::new(of_all),
        errors,
        some(named.refused),
        some(named.limited),
    ];
    let mut times = latency(&named.latency_ms);
    for line in failed_of(report, name).iter().filter_map(Slo::line) {
        let mut quantiles = QUANTILES.into_iter();
        let place = quantiles.find(|(_, q)| line.figure == Figure::Latency(Some(*q)));
        if let Some(cell) = place.and_then(|(place, _)| times.get_mut(place)) {
            cell.mark = Mark::Bad;
        }
    }
    cells.extend(times);
    cells
}

/// Of all requests: until they were sent, from then on, and within streams.
pub(super) fn phases(report: &Report) -> String {
    let columns = [("Phase", Align::Text), ("Requests", Align::Number)];
    let mut table = Table::new(&[&columns[..], &LATENCY[..]].concat());
    for (name, times) in [
        ("due to done", &report.latency_ms),
        ("due to sent", &report.late_ms),
        ("sent to done", &report.service_ms),
        ("due to first token", &report.first_token_ms),
        ("between two tokens", &report.token_time_ms),
    ] {
        if times.count > 0 {
            let mut cells = vec![Cell::new(name), Cell::new(count(times.count))];
            cells.extend(latency(times));
            table.row(Mark::Plain, cells);
        }
    }
    match report.requests {
        0 => String::new(),
        _ => format!(
            "<p class=\"note\">Times in milliseconds.</p>{}",
            table.html()
        ),
    }
}
