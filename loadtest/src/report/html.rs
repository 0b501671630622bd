//! One file of HTML with everything: charts as SVG, no script, nothing from elsewhere.

use std::fmt::Write as _;

use super::junit::escaped;
use super::{Report, Verdict};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 30.0;

/// A line of a chart.
struct Line<'a> {
    name: &'a str,
    colour: &'a str,
    points: Vec<(f64, f64)>,
}

/// The document.
#[must_use]
pub fn document(report: &Report) -> String {
    let verdict = match report.verdict {
        Verdict::Pass => ("pass", "#1a7f37"),
        Verdict::Fail => ("fail", "#cf222e"),
    };
    let charts = charts(report);
    let mut rows = String::new();
    for slo in &report.slos {
        let mark = if slo.ok { "ok" } else { "FAIL" };
        let note = slo.note.clone().unwrap_or_default();
        let _ = write!(
            rows,
            "<tr><td>{mark}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&slo.slo),
            escaped(&slo.shown),
            escaped(&note)
        );
    }
    let mut errors = String::new();
    for (kind, count) in &report.errors_by_kind {
        let _ = write!(
            errors,
            "<tr><td>{}</td><td>{count}</td></tr>",
            escaped(kind)
        );
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>weir-load: {scenario}</title>\
         <style>body{{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#1f2328}}\
         table{{border-collapse:collapse}}td,th{{border:1px solid #d0d7de;padding:.3em .8em;text-align:left}}\
         pre{{background:#f6f8fa;padding:1em;overflow-x:auto}}svg{{width:100%}}</style>\
         <h1>weir-load: {scenario} <span style=\"color:{colour}\">{word}</span></h1>\
         <h2>Objectives</h2><table><tr><th></th><th>objective</th><th>figure</th><th></th></tr>{rows}</table>\
         <h2>Charts</h2>{charts}\
         <h2>Errors by kind</h2><table><tr><th>kind</th><th>count</th></tr>{errors}</table>\
         <h2>Summary</h2><pre>{summary}</pre></html>\n",
        scenario = escaped(&report.scenario),
        colour = verdict.1,
        word = verdict.0,
        summary = escaped(&super::terminal::summary(report)),
    )
}

fn charts(report: &Report) -> String {
    let at = |value: fn(&super::Second) -> f64| -> Vec<(f64, f64)> {
        let parts = report.timeline.iter();
        parts.map(|part| (part.at_s, value(part))).collect()
    };
    let latency = chart(
        "Latency over time, by when requests were due",
        "s",
        "ms",
        &[
            Line {
                name: "p50",
                colour: "#0969da",
                points: at(|part| part.p50_ms),
            },
            Line {
                name: "p99",
                colour: "#cf222e",
                points: at(|part| part.p99_ms),
            },
        ],
    );
    let load = chart(
        "Offered load and throughput",
        "s",
        "requests",
        &[
            Line {
                name: "due",
                colour: "#57606a",
                points: at(|part| part.due as f64),
            },
            Line {
                name: "done",
                colour: "#1a7f37",
                points: at(|part| part.done as f64),
            },
            Line {
                name: "errors",
                colour: "#cf222e",
                points: at(|part| part.errors as f64),
            },
        ],
    );
    let latency_ms = &report.latency_ms;
    let percentiles = chart(
        "Percentiles (nines on the axis)",
        "nines",
        "ms",
        &[Line {
            name: "latency",
            colour: "#8250df",
            points: vec![
                (0.3, latency_ms.p50),
                (1.0, latency_ms.p90),
                (1.3, latency_ms.p95),
                (2.0, latency_ms.p99),
                (3.0, latency_ms.p999),
                (4.0, latency_ms.max),
            ],
        }],
    );
    latency + &load + &percentiles
}

fn chart(title: &str, x_unit: &str, y_unit: &str, lines: &[Line<'_>]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_max = points().map(|point| point.0).fold(1e-9, f64::max);
    let y_max = points().map(|point| point.1).fold(1e-9, f64::max) * 1.05;
    let x = |value: f64| LEFT + value / x_max * (WIDTH - LEFT - 10.0);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_max * (HEIGHT - BOTTOM - 20.0);
    let mut svg = format!(
        "<h3>{}</h3><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escaped(title),
        escaped(title)
    );
    for step in 0..=4 {
        let value = y_max * f64::from(step) / 4.0;
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#d0d7de\"/>\
             <text x=\"{label:.1}\" y=\"{at:.1}\" font-size=\"11\" text-anchor=\"end\">{value:.0} {y_unit}</text>",
            at = y(value),
            label = LEFT - 4.0,
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" font-size=\"11\" text-anchor=\"end\">{x_max:.0} {x_unit}</text>",
        WIDTH - 10.0,
        HEIGHT - 10.0
    );
    for (place, line) in lines.iter().enumerate() {
        let path: Vec<String> = line
            .points
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
            .collect();
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"{}\"/>\
             <text x=\"{}\" y=\"14\" font-size=\"12\" fill=\"{}\">{}</text>",
            line.colour,
            path.join(" "),
            LEFT + 10.0 + 70.0 * place as f64,
            line.colour,
            escaped(line.name)
        );
    }
    svg.push_str("</svg>");
    svg
}
