//! What got worse since an earlier run, past what is noise.

use super::Report;

/// A figure of two runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Worse {
    pub figure: String,
    pub before: f64,
    pub now: f64,
}

/// Figures that grew by more than `tolerance` (0.1 is a tenth), and by more than what two equal runs
/// differ by: two milliseconds, or a tenth of a percent of requests.
#[must_use]
pub fn worse(before: &Report, now: &Report, tolerance: f64) -> Vec<Worse> {
    let of = |report: &Report| {
        let latency = &report.latency_ms;
        [
            ("p50 ms", latency.p50, 2.0),
            ("p95 ms", latency.p95, 2.0),
            ("p99 ms", latency.p99, 2.0),
            ("first token p95 ms", report.first_token_ms.p95, 2.0),
            ("error rate", report.error_rate, 0.001),
        ]
    };
    let pairs = of(before).into_iter().zip(of(now));
    let worse = pairs.filter(|((_, before, noise), (_, now, _))| {
        *now > before * (1.0 + tolerance) && now - before > *noise
    });
    worse
        .map(|((figure, before, _), (_, now, _))| Worse {
            figure: figure.to_owned(),
            before,
            now,
        })
        .collect()
}
