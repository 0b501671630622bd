//! The result of a capacity search; `--json` writes it, and the other reports are made from it.

use serde::Serialize;

use super::run_report::{Verdict, Versions};

pub mod html;
pub mod terminal;

/// The result of a search.
#[derive(Clone, Debug, Serialize)]
pub struct CapacityReport {
    pub verdict: Verdict,
    pub scenario: String,
    pub target: String,
    /// When the search started: RFC 3339, in UTC.
    pub started_at: String,
    pub versions: Versions,
    /// The duration of each run in seconds, without its warm-up.
    pub run_s: f64,
    pub slos: Vec<String>,
    /// Requests per second; `None`: the thresholds passed at no rate.
    pub capacity_rps: Option<f64>,
    /// Whether the target may sustain more than `capacity_rps`: no higher rate failed because of the target.
    pub is_lower_bound: bool,
    pub limited_by: LimitedBy,
    /// Every rate that was tried, once and sorted.
    pub curve: Vec<RatePoint>,
    pub replicas: Vec<Replicas>,
}

/// What limited the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum LimitedBy {
    #[serde(rename = "objectives")]
    Thresholds,
    /// The load generator was the bottleneck: the target may sustain more.
    #[serde(rename = "sender")]
    Sender,
    /// The thresholds passed at the highest rate that was allowed.
    #[serde(rename = "ceiling")]
    MaxRate,
}

/// How many replicas a rate needs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Replicas {
    pub rate: f64,
    pub count: u64,
    /// Whether fewer may suffice, because the capacity is a lower bound.
    pub is_upper_bound: bool,
    /// The share of each replica's capacity that is kept free.
    pub headroom: f64,
}

/// A rate that was tried, in one run or several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RatePoint {
    pub rate: f64,
    pub runs: usize,
    #[serde(rename = "runs_held")]
    pub runs_passed: usize,
    /// The mean of its runs.
    pub achieved_rps: f64,
    /// The sum of its runs.
    pub requests: u64,
    pub errors: u64,
    pub error_rate: f64,
    /// Percentiles in milliseconds: the median of its runs, the worse of two.
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    #[serde(rename = "held")]
    pub passed: bool,
    /// In any of its runs.
    pub is_sender_bottleneck: bool,
    /// Why it failed; empty if it passed.
    #[serde(rename = "why")]
    pub reasons: Vec<String>,
}

impl CapacityReport {
    /// The result in a sentence.
    fn sentence(&self) -> String {
        let slos = self.slos.join(", ");
        match (self.capacity_rps, self.limited_by) {
            (None, LimitedBy::Sender) => format!(
                "no rate passes {slos}; the load generator was the bottleneck: the results measure weir-load, not the \
                 target"
            ),
            (None, _) => format!("no rate passes {slos}"),
            (Some(rate), LimitedBy::Thresholds) => format!("capacity: {rate:.1}/s with {slos}"),
            (Some(rate), LimitedBy::Sender) => format!(
                "capacity: at least {rate:.1}/s with {slos}; above it the load generator was the bottleneck"
            ),
            (Some(rate), LimitedBy::MaxRate) => {
                format!(
                    "capacity: at least {rate:.1}/s with {slos}; no higher rate was tried (--to)"
                )
            }
        }
    }
}
