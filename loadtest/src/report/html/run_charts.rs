//! The charts of a run: over time, and the distribution of latencies.

use super::chart::{Axis, Chart, ThresholdLine};
use crate::report::{NameSummary, Report, TimelinePoint};
use crate::slo::{ChartMetric, ChartThreshold, Slo};

/// How many names have a curve of their own.
const CURVES_MAX: usize = 6;
const CURVE_COLOURS: [&str; CURVES_MAX] = ["c1", "c2", "c3", "c4", "c5", "c6"];
/// Points of a curve for each nine of the quantile.
const POINTS: f64 = 24.0;

/// The charts over time; none if no request was due.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let Some(time) = Timeline::of(report) else {
        return Vec::new();
    };
    let mut charts = vec![latency(report, &time), heat(report, &time)];
    charts.extend(first_token(report, &time));
    charts.push(load(report, &time));
    charts.extend(errors(report, &time));
    charts
}

/// The intervals of a test, including empty ones.
struct Timeline<'a> {
    intervals: Vec<Option<&'a TimelinePoint>>,
    interval_s: f64,
}

impl<'a> Timeline<'a> {
    fn of(report: &'a Report) -> Option<Self> {
        let last = report.timeline.last()?;
        let interval_s = match report.heat_map.column_s {
            known if known > 0.0 => known,
            _ => 1.0,
        };
        let index = |second: &TimelinePoint| (second.at_s / interval_s).round() as usize;
        let mut intervals = vec![None; index(last) + 1];
        for second in &report.timeline {
            if let Some(interval) = intervals.get_mut(index(second)) {
                *interval = Some(second);
            }
        }
        Some(Timeline {
            intervals,
            interval_s,
        })
    }

    fn chart(&self, report: &Report, id: &'static str, title: &'static str) -> Chart {
        let ended_s = self.intervals.len() as f64 * self.interval_s;
        let until_s = ended_s.max(report.duration_s);
        let middles =
            (0..self.intervals.len()).map(|interval| (interval as f64 + 0.5) * self.interval_s);
        Chart {
            xs: middles.collect(),
            ..Chart::new(id, title, Axis::Time { until_s })
        }
    }

    /// Values of the intervals in which requests were due; later ones only have responses.
    fn of_due(&self, value: impl Fn(&TimelinePoint) -> Option<f64>) -> Vec<Option<f64>> {
        let intervals = self.intervals.iter();
        intervals
            .map(|interval| {
                interval
                    .filter(|interval| interval.due > 0)
                    .and_then(&value)
            })
            .collect()
    }

    fn per_second(&self, value: impl Fn(&TimelinePoint) -> u64) -> Vec<Option<f64>> {
        let intervals = self.intervals.iter();
        intervals
            .map(|interval| Some(interval.map_or(0, &value) as f64 / self.interval_s))
            .collect()
    }
}

fn latency(report: &Report, time: &Timeline<'_>) -> Chart {
    let mut chart = time.chart(report, "latency", "Latency");
    chart.about = "from when a request was due to the end of its response, by when it was due";
    chart.line("p50", "c1", time.of_due(|interval| Some(interval.p50_ms)));
    chart.line("p90", "c2", time.of_due(|interval| Some(interval.p90_ms)));
    chart.line("p95", "c3", time.of_due(|interval| Some(interval.p95_ms)));
    chart.line("p99", "c4", time.of_due(|interval| Some(interval.p99_ms)));
    chart.line(
        "max",
        "faint",
        time.of_due(|interval| Some(interval.max_ms)),
    );
    chart.bounds = bounds(report, Scope::All, |threshold| {
        matches!(threshold.metric, ChartMetric::Latency(_))
    });
    chart
}

fn heat(report: &Report, time: &Timeline<'_>) -> Chart {
    let mut chart = time.chart(report, "heat", "Latency heat map");
    chart.about = "number of requests by latency; darker is more";
    chart.heat = Some(report.heat_map.clone());
    chart.bounds = bounds(report, Scope::All, |threshold| {
        matches!(threshold.metric, ChartMetric::Latency(_))
    });
    chart
}

fn first_token(report: &Report, time: &Timeline<'_>) -> Option<Chart> {
    if report.first_token_ms.count == 0 {
        return None;
    }
    let mut chart = time.chart(report, "first-token", "Time to first token");
    chart.about = "from when a request was due to the first event of its stream";
    chart.line(
        "p50",
        "c1",
        time.of_due(|interval| interval.first_token_p50_ms),
    );
    chart.line(
        "p95",
        "c3",
        time.of_due(|interval| interval.first_token_p95_ms),
    );
    chart.bounds = bounds(report, Scope::All, |threshold| {
        threshold.metric == ChartMetric::FirstToken
    });
    Some(chart)
}

fn load(report: &Report, time: &Timeline<'_>) -> Chart {
    let mut chart = time.chart(report, "load", "Requests per second");
    chart.about = "due, completed and failed";
    chart.unit = "/s";
    chart.line("due", "faint", time.per_second(|interval| interval.due));
    chart.line("done", "good", time.per_second(|interval| interval.done));
    if report.errors > 0 {
        chart.line("errors", "bad", time.per_second(|interval| interval.errors));
    }
    chart.bounds = bounds(report, Scope::All, |threshold| {
        threshold.metric == ChartMetric::Rps
    });
    chart
}

/// Only if there are errors, or a threshold for them.
fn errors(report: &Report, time: &Timeline<'_>) -> Option<Chart> {
    let mut bounds = bounds(report, Scope::All, |threshold| {
        threshold.metric == ChartMetric::ErrorRate
    });
    if report.errors == 0 && bounds.is_empty() {
        return None;
    }
    for bound in &mut bounds {
        bound.at *= 100.0;
    }
    let mut chart = time.chart(report, "errors", "Error rate");
    chart.about = "share of the requests due in each interval that failed";
    chart.unit = "%";
    let share = |interval: &TimelinePoint| {
        Some(interval.errors as f64 / interval.due.max(1) as f64 * 100.0)
    };
    chart.line("errors", "bad", time.of_due(share));
    chart.bounds = bounds;
    Some(chart)
}

/// Which thresholds are shown in a chart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Those for all requests.
    All,
    /// Also those for a name.
    AnyName,
}

/// The thresholds of a chart.
fn bounds(
    report: &Report,
    of: Scope,
    is_shown: impl Fn(&ChartThreshold) -> bool,
) -> Vec<ThresholdLine> {
    let slos = report.slos.iter();
    slos.filter_map(|result| {
        let slo = Slo::parse(&result.slo).ok()?;
        if slo.name().is_some() && of == Scope::All {
            return None;
        }
        let threshold = slo.chart_threshold().filter(&is_shown)?;
        Some(ThresholdLine {
            at: threshold.bound,
            label: result.slo.clone(),
            ok: result.ok,
            x: match threshold.metric {
                ChartMetric::Latency(Some(quantile)) => Some(nines(quantile)),
                _ => None,
            },
        })
    })
    .collect()
}

fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-9).log10()
}

/// The percentile curves of all requests, and of the names with the most requests.
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
    chart.about = "latency below which a share of the requests is";
    let count = (until * POINTS).floor() as usize;
    chart.xs = (0..=count).map(|point| point as f64 / POINTS).collect();
    let all = curve(&chart.xs, &report.percentiles, report.requests);
    chart.line("all", "text", all);
    let mut names: Vec<(&String, &NameSummary)> = report.by_name.iter().collect();
    let with_threshold = names_with_threshold(report);
    names.sort_by_key(|(name, summary)| {
        let has_threshold = with_threshold.contains(name);
        (!has_threshold, std::cmp::Reverse(summary.requests))
    });
    if names.len() > 1 {
        for ((name, summary), colour) in names.into_iter().zip(CURVE_COLOURS) {
            let values = curve(&chart.xs, &summary.percentiles, summary.requests);
            chart.line(name, colour, values);
        }
    }
    chart.bounds = bounds(report, Scope::AnyName, |threshold| {
        matches!(threshold.metric, ChartMetric::Latency(Some(_)))
    });
    Some(chart)
}

/// The names that have a threshold.
fn names_with_threshold(report: &Report) -> Vec<String> {
    let slos = report
        .slos
        .iter()
        .filter_map(|result| Slo::parse(&result.slo).ok());
    slos.filter_map(|slo| slo.name().map(str::to_owned))
        .collect()
}

/// Quantiles beyond the last request repeat the maximum and are left out.
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
