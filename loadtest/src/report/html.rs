//! One file of HTML with everything: charts as SVG, no script, nothing from elsewhere.

use std::fmt::Write as _;

use super::junit::escaped;
use super::{Report, Second, Verdict};

mod chart;

pub(super) use chart::{Axis, Chart, Line};

const STYLE: &str = include_str!("html/style.css");

/// The document.
#[must_use]
pub fn document(report: &Report) -> String {
    let (word, class) = match report.verdict {
        Verdict::Pass => ("pass", "ok"),
        Verdict::Fail => ("fail", "bad"),
    };
    let title = format!("weir-load: {}", report.scenario);
    let body = format!(
        "<p class=\"verdict {class}\">{word}</p>{warnings}\
         <h2>Objectives</h2>{objectives}\
         <h2>Over time</h2>{over_time}\
         <h2>Percentiles</h2>{percentiles}\
         <h2>Answers</h2>{answers}{sidecar}\
         <h2>Summary</h2><pre>{summary}</pre>",
        warnings = warnings(report),
        objectives = objectives(report),
        over_time = over_time(report),
        percentiles = percentiles(report),
        answers = answers(report),
        sidecar = sidecar(report),
        summary = escaped(&super::terminal::summary(report)),
    );
    page(&title, &body)
}

/// A whole page.
pub(super) fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>\n"
    )
}

fn warnings(report: &Report) -> String {
    let all = report.warnings.iter();
    let items: String = all
        .map(|warning| format!("<li>{}</li>", escaped(warning)))
        .collect();
    match items.is_empty() {
        true => items,
        false => format!("<ul class=\"warnings\">{items}</ul>"),
    }
}

fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = "<table><tr>".to_owned();
    for head in heads {
        // Writing to a string cannot fail.
        let _ = write!(table, "<th>{}</th>", escaped(head));
    }
    table.push_str("</tr>");
    for row in rows {
        table.push_str("<tr>");
        for cell in row {
            let _ = write!(table, "<td>{}</td>", escaped(&cell));
        }
        table.push_str("</tr>");
    }
    table + "</table>"
}

fn objectives(report: &Report) -> String {
    let rows = report.slos.iter().map(|slo| {
        let mark = if slo.ok { "ok" } else { "FAIL" };
        vec![
            mark.to_owned(),
            slo.slo.clone(),
            slo.shown.clone(),
            slo.count.to_string(),
            slo.note.clone().unwrap_or_default(),
        ]
    });
    match report.slos.is_empty() {
        true => "<p>None were given.</p>".to_owned(),
        false => table(&["", "objective", "figure", "requests behind it", ""], rows),
    }
}

fn over_time(report: &Report) -> String {
    let at = |value: fn(&Second) -> f64| -> Vec<(f64, f64)> {
        let parts = report.timeline.iter();
        parts.map(|part| (part.at_s, value(part))).collect()
    };
    // After the last due time answers still come, and nothing has a latency.
    let latency_at = |value: fn(&Second) -> f64| -> Vec<(f64, f64)> {
        let parts = report.timeline.iter().filter(|part| part.due > 0);
        parts.map(|part| (part.at_s, value(part))).collect()
    };
    let latency = Chart {
        title: "Latency, by when requests were due",
        x: Axis::linear("s"),
        y_unit: "ms",
        lines: vec![
            Line::new("p50", "#0969da", latency_at(|part| part.p50_ms)),
            Line::new("p99", "#cf222e", latency_at(|part| part.p99_ms)),
        ],
    };
    let load = Chart {
        title: "Offered load, throughput and errors",
        x: Axis::linear("s"),
        y_unit: "",
        lines: vec![
            Line::new("due", "#8c959f", at(|part| part.due as f64)),
            Line::new("done", "#1a7f37", at(|part| part.done as f64)),
            Line::new("errors", "#cf222e", at(|part| part.errors as f64)),
        ],
    };
    latency.svg() + &load.svg()
}

fn percentiles(report: &Report) -> String {
    // What is closer to 1 than one request of all is the maximum again and again.
    let last = 1.0 - 1.0 / report.requests.max(1) as f64;
    let points = report.percentiles.iter().copied();
    let points = points.filter(|(share, _)| *share <= last).collect();
    let chart = Chart {
        title: "Share of requests that were at most as slow, from when they were due",
        x: Axis::Percentiles,
        y_unit: "ms",
        lines: vec![Line::new("latency", "#8250df", points)],
    };
    chart.svg()
}

/// Answers by their status, and what went wrong without one.
fn answers(report: &Report) -> String {
    let statuses = report.by_status.iter();
    let mut bars: Vec<(String, u64, &str)> = statuses
        .map(|(status, count)| {
            let colour = match status {
                200..300 => "#1a7f37",
                500.. => "#cf222e",
                _ => "#bf8700",
            };
            (status.to_string(), *count, colour)
        })
        .collect();
    let others = report.errors_by_kind.iter();
    let others = others.filter(|(kind, _)| !kind.starts_with("status "));
    bars.extend(others.map(|(kind, count)| (kind.clone(), *count, "#cf222e")));
    chart::bars(&bars)
}

fn sidecar(report: &Report) -> String {
    let Some(sidecar) = &report.sidecar else {
        return String::new();
    };
    let rows = sidecar.beside.iter().map(|one| {
        let mark = if one.ok { "ok" } else { "differ" };
        vec![
            one.figure.clone(),
            format!("{:.1}", one.client),
            format!("{:.1}", one.weir),
            format!("{:.1}", one.allowed),
            mark.to_owned(),
        ]
    });
    format!(
        "<h2>weir's own figures</h2>{}<p>weir itself added {:.3} ms in the mean.</p>",
        table(&["", "here", "weir", "may differ by", ""], rows),
        sidecar.seen.overhead_ms_mean
    )
}
