//! The report as one file of HTML that opens anywhere, also without a network: what was asked, whether it held, and
//! why. Charts are drawn by uPlot, which the file carries; every figure that matters stands in the text as well.

use std::fmt::Write as _;

use super::{Report, Verdict};

pub(super) mod chart;
pub(super) mod format;
mod latency_tables;
pub(super) mod page;
mod run_charts;
mod sections;
pub(super) mod table;

use format::escaped;
use table::Mark;

/// The document.
#[must_use]
pub fn document(report: &Report) -> String {
    let charts = run_charts::charts(report);
    let distribution = run_charts::distribution(report);
    let mut body = sections::header(report);
    let parts = [
        ("", sections::warnings(report)),
        ("", sections::tiles(report)),
        ("Objectives", sections::objectives(report)),
        ("Worse than the baseline", sections::worse(report)),
        ("Over time", chart::places(&charts)),
        (
            "Distribution",
            distribution
                .as_ref()
                .map_or_else(String::new, chart::Chart::place),
        ),
        ("Latency by name", latency_tables::names(report)),
        ("Where the time went", latency_tables::phases(report)),
        ("Answers by status", sections::answers(report)),
        ("Errors", sections::errors(report)),
        ("Beside weir's own metrics", sections::sidecar(report)),
    ];
    for (heading, part) in parts {
        section(&mut body, heading, &part);
    }
    body.push_str(&footer(
        "Latencies are measured from when a request was due, and not from when it was sent: a stall is seen by all \
         requests that had to wait for it. Failed requests are in all latencies.",
    ));
    let all: Vec<chart::Chart> = charts.into_iter().chain(distribution).collect();
    let title = format!("{}: weir-load {}", word(report.verdict), report.scenario);
    page::page(&title, &body, &chart::figures(&all))
}

/// A part with its heading; nothing of a part without anything.
pub(super) fn section(body: &mut String, heading: &str, part: &str) {
    if part.is_empty() {
        return;
    }
    let heading = match heading {
        "" => String::new(),
        heading => format!("<h2>{}</h2>", escaped(heading)),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(body, "<section>{heading}{part}</section>");
}

/// The figures that people look for first: each with its name and a note.
pub(super) fn tiles(all: impl Iterator<Item = (Mark, String, String, String)>) -> String {
    let mut html = "<div class=\"tiles\">".to_owned();
    for (mark, name, value, note) in all {
        // Writing to a string cannot fail.
        let _ = write!(
            html,
            "<div class=\"tile {}\"><span>{}</span><b>{}</b><small>{}</small></div>",
            mark.class(),
            escaped(&name),
            escaped(&value),
            escaped(&note)
        );
    }
    html + "</div>"
}

pub(super) fn footer(about: &str) -> String {
    format!(
        "<noscript><p class=\"note\">Charts need JavaScript; all tables are complete without it.</p></noscript>\
         <footer><p>{about}</p><p>Made by weir-load {}. Charts: uPlot (MIT).</p></footer>",
        env!("CARGO_PKG_VERSION")
    )
}

pub(super) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "passed",
        Verdict::Fail => "failed",
    }
}

/// The top of a page: the verdict with its reason, what was tested, and its facts.
pub(super) fn heading(
    verdict: Verdict,
    title: &str,
    reason: &str,
    facts: &[(&str, String)],
) -> String {
    let class = match verdict {
        Verdict::Pass => "good",
        Verdict::Fail => "bad",
    };
    let mut html = format!(
        "<header><p class=\"verdict {class}\">{}</p><h1>{}</h1><p class=\"reason\">{}</p><dl>",
        word(verdict),
        escaped(title),
        escaped(reason)
    );
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(
            html,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            escaped(value)
        );
    }
    html + "</dl></header>\n"
}

#[cfg(test)]
#[path = "html/tests.rs"]
mod tests;
