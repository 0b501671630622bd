//! Summaries of statistics, as the reports show them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::{LatencyHistogram, RequestStats, RunStats, StatsRecorder};

/// The rows of a heat map.
const ROWS: usize = 24;
/// The smallest height of a row: the ratio of its two edges.
const ROW_MIN: f64 = 1.04;

/// Percentiles in milliseconds, and the number of requests.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct LatencySummary {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl From<&LatencyHistogram> for LatencySummary {
    fn from(times: &LatencyHistogram) -> Self {
        LatencySummary {
            count: times.count(),
            mean: times.mean_ms(),
            p50: times.quantile_ms(0.5),
            p90: times.quantile_ms(0.9),
            p95: times.quantile_ms(0.95),
            p99: times.quantile_ms(0.99),
            p999: times.quantile_ms(0.999),
            max: times.max_ms(),
        }
    }
}

/// The requests with one name.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NameSummary {
    pub requests: u64,
    pub errors: u64,
    pub error_rate: f64,
    #[serde(rename = "refused")]
    pub rejected: u64,
    #[serde(rename = "limited")]
    pub rate_limited: u64,
    pub latency_ms: LatencySummary,
    pub first_token_ms: LatencySummary,
    pub token_time_ms: LatencySummary,
    pub errors_by_kind: BTreeMap<String, u64>,
    /// The percentile curve of latencies: pairs of a quantile and milliseconds.
    #[serde(default)]
    pub percentiles: Vec<(f64, f64)>,
}

impl From<&RequestStats> for NameSummary {
    fn from(stats: &RequestStats) -> Self {
        NameSummary {
            requests: stats.requests,
            errors: stats.error_count(),
            error_rate: stats.error_rate(),
            rejected: stats.rejected,
            rate_limited: stats.rate_limited,
            latency_ms: LatencySummary::from(&stats.latency),
            first_token_ms: LatencySummary::from(&stats.first_token),
            token_time_ms: LatencySummary::from(&stats.token_time),
            errors_by_kind: stats.errors.clone(),
            percentiles: stats.latency.curve(),
        }
    }
}

/// One interval of the test, by when its requests were due.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct TimelinePoint {
    pub at_s: f64,
    pub due: u64,
    pub done: u64,
    pub errors: u64,
    pub p50_ms: f64,
    #[serde(default)]
    pub p90_ms: f64,
    #[serde(default)]
    pub p95_ms: f64,
    pub p99_ms: f64,
    #[serde(default)]
    pub max_ms: f64,
    /// Only where there were streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_p50_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_p95_ms: Option<f64>,
}

/// How many requests had which latency, over time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct HeatMap {
    /// The width of a column in seconds.
    pub column_s: f64,
    /// The edges of the rows in milliseconds.
    pub edges_ms: Vec<f64>,
    /// Column, row, and number of requests, without empty cells.
    pub cells: Vec<(u64, usize, u64)>,
}

pub(super) fn by_name(stats: &RunStats) -> BTreeMap<String, NameSummary> {
    let names = stats.by_name.iter();
    names
        .map(|(name, stats)| (name.to_string(), NameSummary::from(stats)))
        .collect()
}

/// The statistics of each interval.
pub(super) fn timeline(stats: &RunStats, recorder: &StatsRecorder) -> Vec<TimelinePoint> {
    let interval_s = recorder.interval().as_secs_f64();
    let intervals = stats.intervals.iter();
    intervals
        .map(|(place, interval)| {
            let first = |q| {
                interval
                    .first_token
                    .as_ref()
                    .map(|first| first.quantile_ms(q))
            };
            TimelinePoint {
                at_s: *place as f64 * interval_s,
                due: interval.due,
                done: interval.done,
                errors: interval.errors,
                p50_ms: interval.latency.quantile_ms(0.5),
                p90_ms: interval.latency.quantile_ms(0.9),
                p95_ms: interval.latency.quantile_ms(0.95),
                p99_ms: interval.latency.quantile_ms(0.99),
                max_ms: interval.latency.max_ms(),
                first_token_p50_ms: first(0.5),
                first_token_p95_ms: first(0.95),
            }
        })
        .collect()
}

/// The heat map of all latencies, with a logarithmic scale.
pub(super) fn heat_map(stats: &RunStats, recorder: &StatsRecorder) -> HeatMap {
    let intervals = || {
        stats
            .intervals
            .iter()
            .filter(|(_, interval)| interval.latency.count() > 0)
    };
    let lowest = intervals().map(|(_, interval)| interval.latency.min_ms());
    let (lowest, highest) = (
        lowest.fold(f64::INFINITY, f64::min),
        intervals()
            .map(|(_, interval)| interval.latency.max_ms())
            .fold(0.0, f64::max),
    );
    if highest <= 0.0 {
        return HeatMap::default();
    }
    let ratio = (highest / lowest).powf(1.0 / ROWS as f64).max(ROW_MIN);
    let rows = ((highest / lowest).ln() / ratio.ln()).ceil().max(1.0) as usize;
    let edges_ms = (0..=rows)
        .map(|row| lowest * ratio.powi(row as i32))
        .collect();
    let mut cells: BTreeMap<(u64, usize), u64> = BTreeMap::new();
    for (column, interval) in intervals() {
        for (ms, count) in interval.latency.recorded_ms() {
            let row = ((ms / lowest).ln() / ratio.ln()).floor().max(0.0) as usize;
            *cells.entry((*column, row.min(rows - 1))).or_default() += count;
        }
    }
    HeatMap {
        column_s: recorder.interval().as_secs_f64(),
        edges_ms,
        cells: cells
            .into_iter()
            .map(|((column, row), count)| (column, row, count))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pacer::TestPhase;
    use crate::request::Outcome;
    use crate::stats::tests::sample;

    #[test]
    fn the_heat_map_contains_every_request() {
        let recorder = StatsRecorder::new(Duration::from_secs(10));
        assert_eq!(
            heat_map(&recorder.snapshot(), &recorder),
            HeatMap::default()
        );
        for ms in 1..=5000 {
            recorder.record(&sample("a", ms, Outcome::Success), TestPhase::Measured);
        }
        let map = heat_map(&recorder.snapshot(), &recorder);
        let count: u64 = map.cells.iter().map(|(_, _, count)| count).sum();
        assert_eq!(count, 5000);
        assert_eq!(map.edges_ms.len(), ROWS + 1);
        assert!(map.edges_ms.is_sorted());
        let last = map.edges_ms.last().copied().expect("one");
        assert!(last >= 5000.0, "{last}");
        assert!(map.cells.iter().all(|(_, row, _)| *row < ROWS));
        // Equal latencies have one row.
        let recorder = StatsRecorder::new(Duration::from_secs(10));
        recorder.record(&sample("a", 7, Outcome::Success), TestPhase::Measured);
        let map = heat_map(&recorder.snapshot(), &recorder);
        assert_eq!((map.edges_ms.len(), map.cells), (2, vec![(0, 0, 1)]));
    }
}
