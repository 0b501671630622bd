//! The figures that a report is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::slo::error_rate;
use crate::stats::{Named, Tallies, Tally, Times};

/// Rows of a heat map.
const ROWS: usize = 24;
/// Where all take about as long, rows are no lower than this: a quotient of its two edges.
const ROW_MIN: f64 = 1.04;

/// Milliseconds, and how many there were.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl From<&Times> for Latency {
    fn from(times: &Times) -> Self {
        Latency {
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

/// All requests of one name.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ByName {
    pub requests: u64,
    pub errors: u64,
    pub error_rate: f64,
    pub refused: u64,
    pub limited: u64,
    pub latency_ms: Latency,
    pub first_token_ms: Latency,
    pub token_time_ms: Latency,
    pub errors_by_kind: BTreeMap<String, u64>,
    /// The curve of latencies: pairs of a share and milliseconds.
    #[serde(default)]
    pub percentiles: Vec<(f64, f64)>,
}

impl From<&Named> for ByName {
    fn from(named: &Named) -> Self {
        ByName {
            requests: named.requests,
            errors: named.error_count(),
            error_rate: error_rate(named),
            refused: named.refused,
            limited: named.limited,
            latency_ms: Latency::from(&named.latency),
            first_token_ms: Latency::from(&named.first),
            token_time_ms: Latency::from(&named.piece),
            errors_by_kind: named.errors.clone(),
            percentiles: named.latency.curve(),
        }
    }
}

/// A part of the test, by when its requests were due.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Second {
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
    /// Where there were streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_p50_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_p95_ms: Option<f64>,
}

/// How many requests took how long, over the time of the test.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct HeatMap {
    /// Seconds that one column is wide.
    pub column_s: f64,
    /// Milliseconds; a row lies between two of them.
    pub edges_ms: Vec<f64>,
    /// A column, a row, and its requests; those without any are left out.
    pub cells: Vec<(u64, usize, u64)>,
}

pub(super) fn by_name(tally: &Tally) -> BTreeMap<String, ByName> {
    let names = tally.by_name.iter();
    names
        .map(|(name, named)| (name.to_string(), ByName::from(named)))
        .collect()
}

/// What was measured in each part of the test.
pub(super) fn timeline(tally: &Tally, tallies: &Tallies) -> Vec<Second> {
    let part_s = tallies.part().as_secs_f64();
    let parts = tally.parts.iter();
    parts
        .map(|(place, part)| {
            let first = |q| part.first.as_ref().map(|first| first.quantile_ms(q));
            Second {
                at_s: *place as f64 * part_s,
                due: part.due,
                done: part.done,
                errors: part.errors,
                p50_ms: part.latency.quantile_ms(0.5),
                p90_ms: part.latency.quantile_ms(0.9),
                p95_ms: part.latency.quantile_ms(0.95),
                p99_ms: part.latency.quantile_ms(0.99),
                max_ms: part.latency.max_ms(),
                first_token_p50_ms: first(0.5),
                first_token_p95_ms: first(0.95),
            }
        })
        .collect()
}

/// The heat map of all latencies, in rows of equal height on a scale of logarithms.
pub(super) fn heat_map(tally: &Tally, tallies: &Tallies) -> HeatMap {
    let parts = || {
        tally
            .parts
            .iter()
            .filter(|(_, part)| part.latency.count() > 0)
    };
    let lowest = parts().map(|(_, part)| part.latency.min_ms());
    let (lowest, highest) = (
        lowest.fold(f64::INFINITY, f64::min),
        parts()
            .map(|(_, part)| part.latency.max_ms())
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
    for (column, part) in parts() {
        for (ms, count) in part.latency.recorded_ms() {
            let row = ((ms / lowest).ln() / ratio.ln()).floor().max(0.0) as usize;
            *cells.entry((*column, row.min(rows - 1))).or_default() += count;
        }
    }
    HeatMap {
        column_s: tallies.part().as_secs_f64(),
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
    use crate::pacer::Counts;
    use crate::request::Judged;
    use crate::stats::tests::measured;

    #[test]
    fn every_request_is_somewhere_in_the_heat_map() {
        let tallies = Tallies::new(Duration::from_secs(10));
        assert_eq!(heat_map(&tallies.sum(), &tallies), HeatMap::default());
        for ms in 1..=5000 {
            tallies.record(&measured("a", ms, Judged::Success), Counts::InTheTest);
        }
        let map = heat_map(&tallies.sum(), &tallies);
        let count: u64 = map.cells.iter().map(|(_, _, count)| count).sum();
        assert_eq!(count, 5000);
        assert_eq!(map.edges_ms.len(), ROWS + 1);
        assert!(map.edges_ms.is_sorted());
        let last = map.edges_ms.last().copied().expect("one");
        assert!(last >= 5000.0, "{last}");
        assert!(map.cells.iter().all(|(_, row, _)| *row < ROWS));
        // One that is all alike has one row.
        let tallies = Tallies::new(Duration::from_secs(10));
        tallies.record(&measured("a", 7, Judged::Success), Counts::InTheTest);
        let map = heat_map(&tallies.sum(), &tallies);
        assert_eq!((map.edges_ms.len(), map.cells), (2, vec![(0, 0, 1)]));
    }
}
