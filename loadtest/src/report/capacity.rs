//! What a search for the capacity found, for a terminal and as one file of HTML.

use std::fmt::Write as _;

use super::html::{self, Axis, Chart, Line};
use super::junit::escaped;
use crate::capacity::{Found, LimitedBy};

/// A table of rates, the result, and what it means.
#[must_use]
pub fn summary(found: &Found) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:>12}{:>12}{:>10}{:>12}{:>12}{:>10}",
        "rate", "achieved", "requests", "p50 ms", "p99 ms", "errors"
    );
    for point in &found.curve {
        let word = match point.held {
            true => "held".to_owned(),
            false => point.why.join(", "),
        };
        let _ = writeln!(
            text,
            "{:>10.1}/s{:>10.1}/s{:>10}{:>12.1}{:>12.1}{:>8.3} %  {word}",
            point.rate,
            point.achieved_rps,
            point.requests,
            point.p50_ms,
            point.p99_ms,
            point.error_rate * 100.0
        );
    }
    let slos = found.slos.join(", ");
    let _ = match found.capacity_rps {
        None => write!(text, "\n{slos}: they hold at no rate that was tried"),
        Some(rate) => write!(text, "\ncapacity: {rate:.1}/s hold {slos}{}", limit(found)),
    };
    for replicas in &found.replicas {
        let _ = write!(
            text,
            "\n{:.1}/s want {} replicas, with {:.0} % of each kept free",
            replicas.rate,
            replicas.count,
            replicas.headroom * 100.0
        );
    }
    text
}

fn limit(found: &Found) -> &'static str {
    match found.limited_by {
        LimitedBy::Objectives => "",
        LimitedBy::Sender => {
            "; beyond it the sender was the bottleneck, and the target can do more"
        }
        LimitedBy::Ceiling => "; no higher rate was tried, see --to",
    }
}

/// The document.
#[must_use]
pub fn document(found: &Found) -> String {
    let points = |of: fn(&crate::capacity::Point) -> f64| -> Vec<(f64, f64)> {
        let points = found.curve.iter();
        points.map(|point| (point.rate, of(point))).collect()
    };
    let latency = Chart {
        title: "Latency by rate",
        x: Axis::linear("/s"),
        y_unit: "ms",
        lines: vec![
            Line::new("p50", "#0969da", points(|point| point.p50_ms)),
            Line::new("p99", "#cf222e", points(|point| point.p99_ms)),
        ],
    };
    let errors = Chart {
        title: "Errors by rate",
        x: Axis::linear("/s"),
        y_unit: "%",
        lines: vec![Line::new(
            "errors",
            "#cf222e",
            points(|point| point.error_rate * 100.0),
        )],
    };
    let body = format!(
        "<pre>{}</pre>{}{}",
        escaped(&summary(found)),
        latency.svg(),
        errors.svg()
    );
    html::page(&format!("weir-load capacity: {}", found.scenario), &body)
}
