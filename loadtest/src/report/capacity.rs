//! What a search for the capacity found, for a terminal and as one file of HTML.

use std::fmt::Write as _;

use super::html::chart::{Axis, Bound, Chart, figures, places};
use super::html::page::page;
use super::html::table::{Align, Cell, Mark, Table};
use super::html::{self, format as text};
use crate::capacity::{Found, LimitedBy, Point, Replicas};
use crate::slo::{Figure, Slo};

/// A table of rates, the result, and what it means.
#[must_use]
pub fn summary(found: &Found) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:>12}{:>12}{:>6}{:>10}{:>12}{:>12}{:>10}",
        "rate", "achieved", "runs", "requests", "p50 ms", "p99 ms", "errors"
    );
    for point in &found.curve {
        let _ = writeln!(
            text,
            "{:>10.1}/s{:>10.1}/s{:>6}{:>10}{:>12.1}{:>12.1}{:>8.3} %  {}",
            point.rate,
            point.achieved_rps,
            point.runs,
            point.requests,
            point.p50_ms,
            point.p99_ms,
            point.error_rate * 100.0,
            became(point)
        );
    }
    let _ = write!(text, "\n{}", result(found));
    for replicas in &found.replicas {
        let _ = write!(text, "\n{}", wanted(replicas));
    }
    text
}

/// What came of a rate.
fn became(point: &Point) -> String {
    match (point.held, point.runs_held == point.runs) {
        (true, true) => "held".to_owned(),
        (true, false) => format!("held in {} of {} runs", point.runs_held, point.runs),
        (false, _) => point.why.join(", "),
    }
}

/// The result in a sentence.
fn result(found: &Found) -> String {
    let slos = found.slos.join(", ");
    let because = match found.limited_by {
        LimitedBy::Objectives => "",
        LimitedBy::Sender => {
            "; beyond it the sender was the bottleneck, and the target can do more"
        }
        LimitedBy::Ceiling => "; no higher rate was tried, see --to",
    };
    match (found.capacity_rps, found.limited_by) {
        (None, LimitedBy::Sender) => format!(
            "{slos}: they hold at no rate that was tried, and the sender was the bottleneck: what is measured is \
             weir-load and not the target"
        ),
        (None, _) => format!("{slos}: they hold at no rate that was tried"),
        (Some(rate), LimitedBy::Objectives) => format!("capacity: {rate:.1}/s hold {slos}"),
        (Some(rate), _) => format!("capacity: at least {rate:.1}/s hold {slos}{because}"),
    }
}

fn wanted(replicas: &Replicas) -> String {
    let bound = if replicas.is_upper_bound {
        "at most "
    } else {
        ""
    };
    let noun = if replicas.count == 1 {
        "replica"
    } else {
        "replicas"
    };
    format!(
        "{:.1}/s want {bound}{} {noun}, with {:.0} % of each kept free",
        replicas.rate,
        replicas.count,
        replicas.headroom * 100.0
    )
}

/// The document.
#[must_use]
pub fn document(found: &Found) -> String {
    let charts = charts(found);
    let mut body = header(found);
    for (heading, part) in [
        ("", tiles(found)),
        ("By rate", places(&charts)),
        ("Rates that were tried", rates(found)),
    ] {
        html::section(&mut body, heading, &part);
    }
    body.push_str(&html::footer(
        "Each rate stands once: requests and errors are those of all its runs, percentiles of the run in the middle, \
         of two the worse. A rate holds when most of its runs did.",
    ));
    let title = format!("weir-load capacity {}", found.scenario);
    page(&title, &body, &figures(&charts))
}

fn header(found: &Found) -> String {
    let title = match (found.capacity_rps, found.is_lower_bound) {
        (None, _) => format!("Capacity of {}: none found", found.scenario),
        (Some(rate), false) => format!("Capacity of {}: {}", found.scenario, text::rate(rate)),
        (Some(rate), true) => {
            format!(
                "Capacity of {}: at least {}",
                found.scenario,
                text::rate(rate)
            )
        }
    };
    let reason = match found.capacity_rps.is_some() && found.limited_by == LimitedBy::Objectives {
        true => format!("The highest rate at which {} hold.", found.slos.join(", ")),
        false => result(found),
    };
    let facts = [
        ("Target", found.target.clone()),
        ("Scenario", found.scenario.clone()),
        ("Objectives", found.slos.join(", ")),
        ("Each run", text::duration(found.run_s)),
        ("Started", text::date(&found.started_at)),
        (
            "Versions",
            format!("weir-load {}", found.versions.weir_load),
        ),
    ];
    html::heading(found.verdict, &title, &reason, &facts)
}

/// The result, and what it means for rates that were asked for.
fn tiles(found: &Found) -> String {
    let bound = |is_bound: bool, word: &'static str| if is_bound { word } else { "" };
    let mut tiles = vec![(
        "Capacity".to_owned(),
        found.capacity_rps.map_or_else(
            || "none".to_owned(),
            |rate| format!("{}{}", bound(found.is_lower_bound, "≥ "), text::rate(rate)),
        ),
        "of one replica".to_owned(),
    )];
    let at_capacity = |point: &&Point| Some(point.rate) == found.capacity_rps;
    if let Some(point) = found.curve.iter().find(at_capacity) {
        tiles.push((
            "p99 there".to_owned(),
            text::time(point.p99_ms),
            String::new(),
        ));
    }
    tiles.extend(found.replicas.iter().map(|replicas| {
        (
            format!("Replicas for {}", text::rate(replicas.rate)),
            format!(
                "{}{}",
                bound(replicas.is_upper_bound, "at most "),
                text::count(replicas.count)
            ),
            format!("{} of each kept free", text::percent(replicas.headroom)),
        )
    }));
    html::tiles(
        tiles
            .into_iter()
            .map(|(name, value, note)| (Mark::Plain, name, value, note)),
    )
}

fn rates(found: &Found) -> String {
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
        ("Why not", Align::Text),
    ];
    let mut table = Table::new(&columns);
    for point in &found.curve {
        let (mark, word) = match point.held {
            true => (Mark::Good, "✓ held"),
            false => (Mark::Bad, "✗ failed"),
        };
        let runs = match point.runs_held == point.runs || !point.held {
            true => point.runs.to_string(),
            false => format!("{} of {}", point.runs_held, point.runs),
        };
        let errors = match point.errors {
            0 => Cell::none(),
            some => Cell::marked(
                format!(
                    "{} ({})",
                    text::count(some),
                    text::percent(point.error_rate)
                ),
                Mark::Bad,
            ),
        };
        let cells = vec![
            Cell::new(text::rate(point.rate)),
            Cell::marked(word, mark),
            Cell::new(runs),
            Cell::new(text::rate(point.achieved_rps)),
            Cell::new(text::count(point.requests)),
            errors,
            Cell::new(text::ms(point.p50_ms)),
            Cell::new(text::ms(point.p90_ms)),
            Cell::new(text::ms(point.p95_ms)),
            Cell::new(text::ms(point.p99_ms)),
            Cell::new(point.why.join(", ")),
        ];
        table.row(mark, cells);
    }
    table.html()
}

fn charts(found: &Found) -> Vec<Chart> {
    if found.curve.is_empty() {
        return Vec::new();
    }
    let values = |of: fn(&Point) -> f64| -> Vec<Option<f64>> {
        found.curve.iter().map(|point| Some(of(point))).collect()
    };
    let of_rates = |id, title| Chart {
        xs: found.curve.iter().map(|point| point.rate).collect(),
        at: found.capacity_rps,
        ..Chart::new(id, title, Axis::Rate)
    };
    let mut latency = of_rates("latency", "Latency by rate");
    latency.line("p50", "c1", values(|point| point.p50_ms));
    latency.line("p90", "c2", values(|point| point.p90_ms));
    latency.line("p95", "c3", values(|point| point.p95_ms));
    latency.line("p99", "c4", values(|point| point.p99_ms));
    latency.bounds = bounds(found, |figure| matches!(figure, Figure::Latency(_)), 1.0);
    let mut errors = of_rates("errors", "Error rate by rate");
    errors.unit = "%";
    errors.line("errors", "bad", values(|point| point.error_rate * 100.0));
    errors.bounds = bounds(found, |figure| figure == Figure::ErrorRate, 100.0);
    let mut achieved = of_rates("achieved", "Achieved rate");
    achieved.about = "answers per second, beside what was asked for";
    achieved.unit = "/s";
    achieved.line("asked for", "faint", values(|point| point.rate));
    achieved.line("achieved", "good", values(|point| point.achieved_rps));
    vec![latency, errors, achieved]
}

/// The objectives as lines: those of a chart's figure.
fn bounds(found: &Found, belongs: impl Fn(Figure) -> bool, scale: f64) -> Vec<Bound> {
    let slos = found.slos.iter();
    slos.filter_map(|text| {
        let line = Slo::parse(text).ok()?.line()?;
        belongs(line.figure).then(|| Bound {
            at: line.bound * scale,
            label: text.clone(),
            ok: found.capacity_rps.is_some(),
            x: None,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Verdict, Versions};

    fn found(capacity_rps: Option<f64>, limited_by: LimitedBy) -> Found {
        let is_lower_bound = limited_by != LimitedBy::Objectives;
        Found {
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
    fn what_the_target_did_not_end_is_a_bound() {
        for (limited_by, capacity, replicas, page) in [
            (
                LimitedBy::Objectives,
                "capacity: 400.0/s hold p99<1s",
                "500.0/s want 2 replicas",
                "Capacity of &lt;b&gt;chat: 400/s",
            ),
            (
                LimitedBy::Sender,
                "capacity: at least 400.0/s hold p99<1s; beyond it the sender was the bottleneck",
                "500.0/s want at most 2 replicas",
                "Capacity of &lt;b&gt;chat: at least 400/s",
            ),
            (
                LimitedBy::Ceiling,
                "capacity: at least 400.0/s hold p99<1s; no higher rate was tried",
                "500.0/s want at most 2 replicas",
                "at most 2</b>",
            ),
        ] {
            let found = found(Some(400.0), limited_by);
            let told = summary(&found);
            assert!(told.contains(capacity) && told.contains(replicas), "{told}");
            assert!(document(&found).contains(page), "{page}");
        }
        let told = summary(&found(None, LimitedBy::Sender));
        assert!(told.contains("weir-load and not the target"), "{told}");
        assert!(document(&found(None, LimitedBy::Objectives)).contains("none found"));
    }
}
