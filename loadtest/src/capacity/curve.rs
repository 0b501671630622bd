//! Merges the runs of a search into a curve with one point for each rate.

use crate::report::TimelinePoint;
use crate::report::capacity::{LimitedBy, RatePoint};

/// In the second half of a run as many requests must complete as come due, or a queue builds up even if the thresholds
/// pass. A constant latency moves as many completions into a half as out of it, so a slow target keeps up as well as a
/// fast one. A target falls behind below this share, if the difference is more than a few requests.
const KEEPS_UP_MIN: f64 = 0.95;
const FEW: u64 = 3;

/// Whether a target kept up with the arrival rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Throughput {
    KeepsUp,
    /// In the second half fewer requests were done than due.
    FallsBehind {
        due: u64,
        done: u64,
    },
}

/// Evaluates the second half of a run of this duration.
pub(super) fn throughput(intervals: &[TimelinePoint], duration_s: f64) -> Throughput {
    let half = duration_s / 2.0..duration_s;
    let intervals = intervals
        .iter()
        .filter(|interval| half.contains(&interval.at_s));
    let (due, done) = intervals.fold((0, 0), |(due, done), interval| {
        (due + interval.due, done + interval.done)
    });
    match (done as f64) < due as f64 * KEEPS_UP_MIN && done + FEW < due {
        true => Throughput::FallsBehind { due, done },
        false => Throughput::KeepsUp,
    }
}

/// Every rate once, sorted. Rates up to the result of the search passed; without a result, the majority of runs
/// decides.
pub(super) fn merged(runs: &[RatePoint], capacity_rps: Option<f64>) -> Vec<RatePoint> {
    let mut runs: Vec<&RatePoint> = runs.iter().collect();
    runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let rates = runs.chunk_by(|one, other| one.rate.total_cmp(&other.rate).is_eq());
    rates.filter_map(|runs| point(runs, capacity_rps)).collect()
}

fn point(runs: &[&RatePoint], capacity_rps: Option<f64>) -> Option<RatePoint> {
    let rate = runs.first()?.rate;
    let count = runs.len();
    let runs_passed = runs.iter().filter(|run| run.passed).count();
    let passed = match capacity_rps {
        Some(capacity) => rate <= capacity,
        None => runs_passed * 2 > count,
    };
    let sum = |of: fn(&RatePoint) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
    let median = |of: fn(&RatePoint) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(|run| of(run)).collect();
        all.sort_by(f64::total_cmp);
        all.get(count / 2).copied().unwrap_or_default()
    };
    let (requests, errors) = (sum(|run| run.requests), sum(|run| run.errors));
    let failed = runs.iter().rev().find(|run| !run.passed);
    Some(RatePoint {
        rate,
        runs: count,
        runs_passed,
        achieved_rps: runs.iter().map(|run| run.achieved_rps).sum::<f64>() / count as f64,
        requests,
        errors,
        error_rate: errors as f64 / requests.max(1) as f64,
        p50_ms: median(|run| run.p50_ms),
        p90_ms: median(|run| run.p90_ms),
        p95_ms: median(|run| run.p95_ms),
        p99_ms: median(|run| run.p99_ms),
        passed,
        is_sender_bottleneck: runs.iter().any(|run| run.is_sender_bottleneck),
        reasons: match failed {
            Some(run) if !passed => run.reasons.clone(),
            _ => Vec::new(),
        },
    })
}

/// What limited the result: the first rate above it that failed.
pub(super) fn limited_by(curve: &[RatePoint], capacity_rps: Option<f64>) -> LimitedBy {
    let above = |point: &&RatePoint| capacity_rps.is_none_or(|rate| point.rate > rate);
    let mut failed = curve.iter().filter(above).filter(|point| !point.passed);
    match failed.next() {
        None => LimitedBy::MaxRate,
        Some(first) if first.is_sender_bottleneck => LimitedBy::Sender,
        Some(_) => LimitedBy::Thresholds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: f64, p99_ms: f64, reasons: &[&str]) -> RatePoint {
        RatePoint {
            rate,
            runs: 1,
            runs_passed: usize::from(reasons.is_empty()),
            achieved_rps: rate,
            requests: 100,
            errors: u64::from(!reasons.is_empty()),
            error_rate: 0.0,
            p50_ms: 1.0,
            p90_ms: 1.0,
            p95_ms: 1.0,
            p99_ms,
            passed: reasons.is_empty(),
            is_sender_bottleneck: reasons.contains(&"sender"),
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        }
    }

    /// Four seconds at 30/s, with the number of requests done in each.
    fn seconds(done: [u64; 4]) -> Vec<TimelinePoint> {
        let intervals = done.into_iter().zip(0_u32..);
        intervals
            .map(|(done, second)| TimelinePoint {
                at_s: f64::from(second),
                due: 30,
                done,
                ..TimelinePoint::default()
            })
            .collect()
    }

    #[test]
    fn a_constant_latency_keeps_up_and_half_the_throughput_falls_behind() {
        // A latency of 0.7 s moves as many completions into a half as out of it.
        assert_eq!(
            throughput(&seconds([9, 30, 30, 30]), 4.0),
            Throughput::KeepsUp
        );
        assert_eq!(
            throughput(&seconds([9, 30, 28, 29]), 4.0),
            Throughput::KeepsUp,
            "a few"
        );
        let lags = Throughput::FallsBehind { due: 60, done: 30 };
        assert_eq!(throughput(&seconds([15, 15, 15, 15]), 4.0), lags);
    }

    #[test]
    fn rates_are_merged_and_sorted() {
        let runs = [
            run(10.0, 5.0, &[]),
            run(40.0, 90.0, &["p99"]),
            run(40.0, 80.0, &["p99 again"]),
            run(20.0, 7.0, &[]),
            run(20.0, 50.0, &["an outlier"]),
            run(20.0, 8.0, &[]),
        ];
        let curve = merged(&runs, Some(20.0));
        let seen: Vec<_> = curve
            .iter()
            .map(|point| (point.rate, point.runs, point.runs_passed, point.passed))
            .collect();
        assert_eq!(
            seen,
            [(10.0, 1, 1, true), (20.0, 3, 2, true), (40.0, 2, 0, false)]
        );
        let outlier = &curve[1];
        assert_eq!((outlier.requests, outlier.errors), (300, 1));
        assert!((outlier.p99_ms - 8.0).abs() < 1e-9 && outlier.reasons.is_empty());
        assert_eq!(curve[2].reasons, ["p99 again"]);
        assert!((curve[2].p99_ms - 90.0).abs() < 1e-9, "the worse of two");
        assert_eq!(limited_by(&curve, Some(20.0)), LimitedBy::Thresholds);
    }

    #[test]
    fn a_rate_passes_only_if_most_runs_pass() {
        let runs = [
            run(10.0, 5.0, &[]),
            run(20.0, 5.0, &[]),
            run(20.0, 9.0, &["p99"]),
        ];
        assert!(!merged(&runs, Some(10.0))[1].passed);
        assert!(
            !merged(&runs, None)[1].passed,
            "half of its runs is not a majority"
        );
        assert_eq!(
            limited_by(&merged(&runs[..1], Some(10.0)), Some(10.0)),
            LimitedBy::MaxRate
        );
        let sender = [run(10.0, 5.0, &[]), run(20.0, 5.0, &["sender"])];
        assert_eq!(
            limited_by(&merged(&sender, Some(10.0)), Some(10.0)),
            LimitedBy::Sender
        );
    }
}
