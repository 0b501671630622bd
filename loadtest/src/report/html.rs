//! The report of a run as one self-contained HTML file, which needs no network. Charts are drawn by uPlot, which is
//! embedded; every important value is also in a table.

use super::run_report::Report;

pub(super) mod chart;
pub(super) mod format;
mod latency_tables;
pub(super) mod layout;
pub(super) mod page;
mod run_charts;
mod sections;
pub(super) mod table;

/// The document.
#[must_use]
pub fn document(report: &Report) -> String {
    let charts = run_charts::charts(report);
    let distribution = run_charts::distribution(report);
    let mut body = sections::header(report);
    let parts = [
        ("", sections::warnings(report)),
        ("", sections::tiles(report)),
        ("Thresholds", sections::thresholds(report)),
        (
            "Regressions against the baseline",
            sections::regressions(report),
        ),
        ("Over time", chart::containers(&charts)),
        (
            "Distribution",
            distribution
                .as_ref()
                .map_or_else(String::new, chart::Chart::container),
        ),
        ("Latency by name", latency_tables::names(report)),
        ("Latency by phase", latency_tables::phases(report)),
        ("Responses by status", sections::responses(report)),
        ("Errors", sections::errors(report)),
        (
            "Comparison with weir's own metrics",
            sections::sidecar(report),
        ),
    ];
    for (heading, part) in parts {
        layout::section(&mut body, heading, &part);
    }
    body.push_str(&layout::footer(
        "Latency is measured from when a request was due, not from when it was sent, so that a stall affects every request \
         that had to wait for it (no coordinated omission). Failed requests are included in all latencies.",
    ));
    let all: Vec<chart::Chart> = charts.into_iter().chain(distribution).collect();
    let title = format!(
        "{}: weir-load {}",
        layout::word(report.verdict),
        report.scenario
    );
    page::page(&title, &body, &chart::chart_data(&all))
}

#[cfg(test)]
#[path = "html/tests.rs"]
mod tests;
