//! What the runs of a search say of each rate.

use serde::Serialize;

use super::LimitedBy;
use crate::report::Second;

/// In the second half of a run as much has to be done as comes due, or answers only pile up, whatever the
/// objectives say. What a steady latency shifts out of one half it shifts into the other, so that a slow
/// assistant keeps up as well as a fast one. Less than this share, and by more than a few, is too little.
const KEEPS_UP_MIN: f64 = 0.95;
const FEW: u64 = 3;

/// Whether a target kept up with what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Keeps,
    /// In its second half so many came due, and so few were done.
    Lags {
        due: u64,
        done: u64,
    },
}

/// By the second half of a run that long, in seconds.
pub(super) fn pace(parts: &[Second], duration_s: f64) -> Pace {
    let half = duration_s / 2.0..duration_s;
    let parts = parts.iter().filter(|part| half.contains(&part.at_s));
    let (due, done) = parts.fold((0, 0), |(due, done), part| {
        (due + part.due, done + part.done)
    });
    match (done as f64) < due as f64 * KEEPS_UP_MIN && done + FEW < due {
        true => Pace::Lags { due, done },
        false => Pace::Keeps,
    }
}

/// One rate that was tried, in one run or several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    pub rate: f64,
    pub runs: usize,
    pub runs_held: usize,
    /// In the mean of its runs.
    pub achieved_rps: f64,
    /// Of all its runs together.
    pub requests: u64,
    pub errors: u64,
    pub error_rate: f64,
    /// Percentiles in milliseconds; of several runs the one in the middle, of two the worse.
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub held: bool,
    /// In any of its runs.
    pub is_sender_bottleneck: bool,
    /// Which objectives did not hold; of a rate that held, none.
    pub why: Vec<String>,
}

/// Every rate once, in order. The search has decided which hold: those up to its result; of one that broke off, the
/// most runs decide.
pub(super) fn merged(runs: &[Point], capacity_rps: Option<f64>) -> Vec<Point> {
    let mut runs: Vec<&Point> = runs.iter().collect();
    runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let rates = runs.chunk_by(|one, other| one.rate.total_cmp(&other.rate).is_eq());
    rates.filter_map(|runs| point(runs, capacity_rps)).collect()
}

fn point(runs: &[&Point], capacity_rps: Option<f64>) -> Option<Point> {
    let rate = runs.first()?.rate;
    let count = runs.len();
    let runs_held = runs.iter().filter(|run| run.held).count();
    let held = match capacity_rps {
        Some(capacity) => rate <= capacity,
        None => runs_held * 2 > count,
    };
    let sum = |of: fn(&Point) -> u64| runs.iter().map(|run| of(run)).sum::<u64>();
    let middle = |of: fn(&Point) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(|run| of(run)).collect();
        all.sort_by(f64::total_cmp);
        all.get(count / 2).copied().unwrap_or_default()
    };
    let (requests, errors) = (sum(|run| run.requests), sum(|run| run.errors));
    let failed = runs.iter().rev().find(|run| !run.held);
    Some(Point {
        rate,
        runs: count,
        runs_held,
        achieved_rps: runs.iter().map(|run| run.achieved_rps).sum::<f64>() / count as f64,
        requests,
        errors,
        error_rate: errors as f64 / requests.max(1) as f64,
        p50_ms: middle(|run| run.p50_ms),
        p90_ms: middle(|run| run.p90_ms),
        p95_ms: middle(|run| run.p95_ms),
        p99_ms: middle(|run| run.p99_ms),
        held,
        is_sender_bottleneck: runs.iter().any(|run| run.is_sender_bottleneck),
        why: match failed {
            Some(run) if !held => run.why.clone(),
            _ => Vec::new(),
        },
    })
}

/// What kept the result from being higher: the first rate above it that failed says so.
pub(super) fn limited_by(curve: &[Point], capacity_rps: Option<f64>) -> LimitedBy {
    let above = |point: &&Point| capacity_rps.is_none_or(|rate| point.rate > rate);
    let mut failed = curve.iter().filter(above).filter(|point| !point.held);
    match failed.next() {
        None => LimitedBy::Ceiling,
        Some(first) if first.is_sender_bottleneck => LimitedBy::Sender,
        Some(_) => LimitedBy::Objectives,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: f64, p99_ms: f64, why: &[&str]) -> Point {
        Point {
            rate,
            runs: 1,
            runs_held: usize::from(why.is_empty()),
            achieved_rps: rate,
            requests: 100,
            errors: u64::from(!why.is_empty()),
            error_rate: 0.0,
            p50_ms: 1.0,
            p90_ms: 1.0,
            p95_ms: 1.0,
            p99_ms,
            held: why.is_empty(),
            is_sender_bottleneck: why.contains(&"sender"),
            why: why.iter().map(|why| (*why).to_owned()).collect(),
        }
    }

    /// Four seconds at 30/s, of which each second does so many.
    fn seconds(done: [u64; 4]) -> Vec<Second> {
        let parts = done.into_iter().zip(0_u32..);
        parts
            .map(|(done, second)| Second {
                at_s: f64::from(second),
                due: 30,
                done,
                ..Second::default()
            })
            .collect()
    }

    #[test]
    fn a_steady_latency_is_no_lag_and_half_of_what_comes_is_one() {
        // 0.7 s each: what is shifted out of a half is shifted into it.
        assert_eq!(pace(&seconds([9, 30, 30, 30]), 4.0), Pace::Keeps);
        assert_eq!(pace(&seconds([9, 30, 28, 29]), 4.0), Pace::Keeps, "a few");
        let lags = Pace::Lags { due: 60, done: 30 };
        assert_eq!(pace(&seconds([15, 15, 15, 15]), 4.0), lags);
    }

    #[test]
    fn each_rate_stands_once_and_in_order() {
        let runs = [
            run(10.0, 5.0, &[]),
            run(40.0, 90.0, &["p99"]),
            run(40.0, 80.0, &["p99 again"]),
            run(20.0, 7.0, &[]),
            run(20.0, 50.0, &["a stumble"]),
            run(20.0, 8.0, &[]),
        ];
        let curve = merged(&runs, Some(20.0));
        let seen: Vec<_> = curve
            .iter()
            .map(|point| (point.rate, point.runs, point.runs_held, point.held))
            .collect();
        assert_eq!(
            seen,
            [(10.0, 1, 1, true), (20.0, 3, 2, true), (40.0, 2, 0, false)]
        );
        let stumbled = &curve[1];
        assert_eq!((stumbled.requests, stumbled.errors), (300, 1));
        assert!((stumbled.p99_ms - 8.0).abs() < 1e-9 && stumbled.why.is_empty());
        assert_eq!(curve[2].why, ["p99 again"]);
        assert!((curve[2].p99_ms - 90.0).abs() < 1e-9, "of two the worse");
        assert_eq!(limited_by(&curve, Some(20.0)), LimitedBy::Objectives);
    }

    #[test]
    fn what_was_held_once_and_never_again_is_not_held() {
        let runs = [
            run(10.0, 5.0, &[]),
            run(20.0, 5.0, &[]),
            run(20.0, 9.0, &["p99"]),
        ];
        assert!(!merged(&runs, Some(10.0))[1].held);
        assert!(
            !merged(&runs, None)[1].held,
            "half of its runs are not most"
        );
        assert_eq!(
            limited_by(&merged(&runs[..1], Some(10.0)), Some(10.0)),
            LimitedBy::Ceiling
        );
        let sender = [run(10.0, 5.0, &[]), run(20.0, 5.0, &["sender"])];
        assert_eq!(
            limited_by(&merged(&sender, Some(10.0)), Some(10.0)),
            LimitedBy::Sender
        );
    }
}
