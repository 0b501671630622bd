//! The charts of a run: over its time, all on one axis, and the distribution of its latencies.

use super::chart::{Axis, Bound, Chart};
use crate::report::{ByName, Report, Second};
use crate::slo::{Figure, Line, Slo};

/// Names that get a curve of their own.
const CURVES_MAX: usize = 6;
const CURVE_COLOURS: [&str; CURVES_MAX] = ["c1", "c2", "c3", "c4", "c5", "c6"];
/// Points of a curve for each nine.
const POINTS: f64 = 24.0;

/// The charts over time. None, where nothing was due.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let Some(time) = Time::of(report) else {
        return Vec::new();
    };
    let mut charts = vec![latency(report, &time), heat(report, &time)];
    charts.extend(first_token(report, &time));
    charts.push(load(report, &time));
    charts.extend(errors(report, &time));
    charts
}

/// The parts of a test, also those in which nothing happened.
struct Time<'a> {
    parts: Vec<Option<&'a Second>>,
    part_s: f64,
}

impl<'a> Time<'a> {
    fn of(report: &'a Report) -> Option<Self> {
        let last = report.timeline.last()?;
        let part_s = match report.heat_map.column_s {
            known if known > 0.0 => known,
            _ => 1.0,
        };
        let place = |second: &Second| (second.at_s / part_s).round() as usize;
        let mut parts = vec![None; place(last) + 1];
        for second in &report.timeline {
            if let Some(part) = parts.get_mut(place(second)) {
                *part = Some(second);
            }
        }
        Some(Time { parts, part_s })
    }

    fn chart(&self, report: &Report, id: &'static str, title: &'static str) -> Chart {
        let ended_s = self.parts.len() as f64 * self.part_s;
        let until_s = ended_s.max(report.duration_s);
        let middles = (0..self.parts.len()).map(|part| (part as f64 + 0.5) * self.part_s);
        Chart {
            xs: middles.collect(),
            ..Chart::new(id, title, Axis::Time { until_s })
        }
    }

    /// Of parts in which something was due: after them answers still come, and nothing has a latency.
    fn of_due(&self, value: impl Fn(&Second) -> Option<f64>) -> Vec<Option<f64>> {
        let parts = self.parts.iter();
        parts
            .map(|part| part.filter(|part| part.due > 0).and_then(&value))
            .collect()
    }

    fn per_second(&self, value: impl Fn(&Second) -> u64) -> Vec<Option<f64>> {
        let parts = self.parts.iter();
        parts
            .map(|part| Some(part.map_or(0, &value) as f64 / self.part_s))
            .collect()
    }
}

fn latency(report: &Report, time: &Time<'_>) -> Chart {
    let mut chart = time.chart(report, "latency", "Latency");
    chart.about = "from when a request was due to the end of its answer, by when it was due";
    chart.line("p50", "c1", time.of_due(|part| Some(part.p50_ms)));
    chart.line("p90", "c2", time.of_due(|part| Some(part.p90_ms)));
    chart.line("p95", "c3", time.of_due(|part| Some(part.p95_ms)));
    chart.line("p99", "c4", time.of_due(|part| Some(part.p99_ms)));
    chart.line("max", "faint", time.of_due(|part| Some(part.max_ms)));
    chart.bounds = bounds(report, Of::All, |line| {
        matches!(line.figure, Figure::Latency(_))
    });
    chart
}

fn heat(report: &Report, time: &Time<'_>) -> Chart {
    let mut chart = time.chart(report, "heat", "Latency heat map");
    chart.about = "how many requests took how long; darker is more";
    chart.heat = Some(report.heat_map.clone());
    chart.bounds = bounds(report, Of::All, |line| {
        matches!(line.figure, Figure::Latency(_))
    });
    chart
}

fn first_token(report: &Report, time: &Time<'_>) -> Option<Chart> {
    if report.first_token_ms.count == 0 {
        return None;
    }
    let mut chart = time.chart(report, "first-token", "Time to first token");
    chart.about = "from when a request was due to the first piece of its stream";
    chart.line("p50", "c1", time.of_due(|part| part.first_token_p50_ms));
    chart.line("p95", "c3", time.of_due(|part| part.first_token_p95_ms));
    chart.bounds = bounds(report, Of::All, |line| line.figure == Figure::FirstToken);
    Some(chart)
}

fn load(report: &Report, time: &Time<'_>) -> Chart {
    let mut chart = time.chart(report, "load", "Requests per second");
    chart.about = "what was sent, what was done, and what failed";
    chart.unit = "/s";
    chart.line("due", "faint", time.per_second(|part| part.due));
    chart.line("done", "good", time.per_second(|part| part.done));
    if report.errors > 0 {
        chart.line("errors", "bad", time.per_second(|part| part.errors));
    }
    chart.bounds = bounds(report, Of::All, |line| line.figure == Figure::Rps);
    chart
}

/// Where there are any, or where an objective is of them.
fn errors(report: &Report, time: &Time<'_>) -> Option<Chart> {
    let mut bounds = bounds(report, Of::All, |line| line.figure == Figure::ErrorRate);
    if report.errors == 0 && bounds.is_empty() {
        return None;
    }
    for bound in &mut bounds {
        bound.at *= 100.0;
    }
    let mut chart = time.chart(report, "errors", "Error rate");
    chart.about = "share of the requests due in each part of the test that failed";
    chart.unit = "%";
    let share = |part: &Second| Some(part.errors as f64 / part.due.max(1) as f64 * 100.0);
    chart.line("errors", "bad", time.of_due(share));
    chart.bounds = bounds;
    Some(chart)
}

/// Whose objectives belong into a chart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Those of all requests together: one of a name says nothing of them.
    All,
    AnyName,
}

/// The objectives that belong into a chart.
fn bounds(report: &Report, of: Of, belongs: impl Fn(&Line) -> bool) -> Vec<Bound> {
    let slos = report.slos.iter();
    slos.filter_map(|held| {
        let slo = Slo::parse(&held.slo).ok()?;
        if slo.name().is_some() && of == Of::All {
            return None;
        }
        let line = slo.line().filter(&belongs)?;
        Some(Bound {
            at: line.bound,
            label: held.slo.clone(),
            ok: held.ok,
            x: match line.figure {
                Figure::Latency(Some(quantile)) => Some(nines(quantile)),
                _ => None,
            },
        })
    })
    .collect()
}

fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-9).log10()
}

/// The curve of all latencies, and of the names with the most requests.
pub(super) fn distribution(report: &Report) -> Option<Chart> {
    if report.requests == 0 {
        return None;
    }
    let until = (report.requests as f64).log10().max(1.0);
    let mut chart = Chart::new(
        "percentiles",
        "Latency by percentile",
        Axis::Nines { until },
    );
    chart.about = "the share of requests that took at most so long";
    let count = (until * POINTS).floor() as usize;
    chart.xs = (0..=count).map(|point| point as f64 / POINTS).collect();
    let all = curve(&chart.xs, &report.percentiles, report.requests);
    chart.line("all", "text", all);
    let mut names: Vec<(&String, &ByName)> = report.by_name.iter().collect();
    let asked_for = asked_for(report);
    names.sort_by_key(|(name, named)| {
        let is_asked_for = asked_for.contains(name);
        (!is_asked_for, std::cmp::Reverse(named.requests))
    });
    if names.len() > 1 {
        for ((name, named), colour) in names.into_iter().zip(CURVE_COLOURS) {
            let values = curve(&chart.xs, &named.percentiles, named.requests);
            chart.line(name, colour, values);
        }
    }
    chart.bounds = bounds(report, Of::AnyName, |line| {
        matches!(line.figure, Figure::Latency(Some(_)))
    });
    Some(chart)
}

/// Names that an objective is of.
fn asked_for(report: &Report) -> Vec<String> {
    let slos = report
        .slos
        .iter()
        .filter_map(|held| Slo::parse(&held.slo).ok());
    slos.filter_map(|slo| slo.name().map(str::to_owned))
        .collect()
}

/// What is closer to 1 than one request of all is the maximum again and again, and left out.
fn curve(xs: &[f64], percentiles: &[(f64, f64)], requests: u64) -> Vec<Option<f64>> {
    let last = (requests.max(1) as f64).log10() + 1e-9;
    xs.iter()
        .map(|nines| {
            let share = 1.0 - 10_f64.powf(-nines);
            let reached = percentiles.iter().find(|(found, _)| *found >= share);
            reached.filter(|_| *nines <= last).map(|(_, ms)| *ms)
        })
        .collect()
}
