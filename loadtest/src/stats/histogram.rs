//! Histograms of durations (HDR Histogram).

use std::time::Duration;

use hdrhistogram::Histogram;

/// The largest value: durations are recorded in microseconds, from one to an hour, with an error below 0.1 %.
const LONGEST_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;
/// Points of the percentile curve for each halving of the remaining requests.
const CURVE_TICKS: u32 = 4;

/// A histogram of durations.
#[derive(Clone, Debug)]
pub struct LatencyHistogram(Histogram<u64>);

impl LatencyHistogram {
    #[expect(clippy::expect_used, reason = "the bounds are constants that fit")]
    pub(super) fn new(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, digits);
        LatencyHistogram(histogram.expect("bounds of a histogram"))
    }

    pub fn record(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(us.max(1));
    }

    /// Merges another histogram.
    pub fn add(&mut self, other: &LatencyHistogram) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// A quantile in milliseconds; 0 for an empty histogram.
    #[must_use]
    pub fn quantile_ms(&self, q: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        self.0.value_at_quantile(q) as f64 / 1000.0
    }

    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.0.mean() / 1000.0
    }

    /// The percentile curve, denser towards 1: pairs of a quantile and milliseconds.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let shares = self.0.iter_quantiles(CURVE_TICKS);
        shares
            .map(|step| {
                (
                    step.quantile_iterated_to(),
                    step.value_iterated_to() as f64 / 1000.0,
                )
            })
            .collect()
    }

    /// The recorded values in milliseconds, each with its count.
    pub fn recorded_ms(&self) -> impl Iterator<Item = (f64, u64)> {
        let values = self.0.iter_recorded();
        values.map(|value| {
            (
                value.value_iterated_to() as f64 / 1000.0,
                value.count_at_value(),
            )
        })
    }

    #[must_use]
    pub fn min_ms(&self) -> f64 {
        self.0.min() as f64 / 1000.0
    }

    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        LatencyHistogram::new(DIGITS)
    }
}
