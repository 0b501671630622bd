//! The parts that queries of signals are made of, in PromQL.
//!
//! Ranges are those of the engine's windows, and a query has a value under the same conditions as the
//! engine's signal: at least the minimum number of requests, and a histogram whose buckets have an edge at
//! each threshold.

use std::fmt::Write as _;
use std::time::Duration;

use super::identity::INSTANCE;
use super::per::Per;
use super::tier::Thresholds;
use super::unit::Unit;
use crate::metrics::catalog::{DURATION_EDGES_S, Definition};

/// The metric that counts the requests of a window.
const REQUESTS: &str = "weir_request_duration_seconds_count";

/// Why Prometheus cannot express a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inexpressible {
    #[error("`per: {per}`, but `{metric}` has only the labels {labels}")]
    NoLabel {
        per: &'static str,
        metric: &'static str,
        labels: String,
    },
    #[error(
        "`{threshold}` of {value} is no edge of its histogram's buckets; the nearest is {nearest}"
    )]
    NotAnEdge {
        threshold: &'static str,
        value: String,
        nearest: String,
    },
    #[error("the signal `{0}` is not in this version yet")]
    Planned(&'static str),
}

/// Makes the query of one rule's signal.
#[derive(Clone, Debug)]
pub struct Promql<'r> {
    /// The labels of the series.
    by: String,
    /// The range of `increase` and `rate`.
    window: String,
    minimum_requests: u64,
    per: Option<Per>,
    thresholds: &'r Thresholds,
}

impl<'r> Promql<'r> {
    #[must_use]
    pub fn new(
        per: Option<Per>,
        thresholds: &'r Thresholds,
        (window, minimum_requests): (Duration, u64),
    ) -> Self {
        Promql {
            by: by(per),
            window: duration(window),
            minimum_requests,
            per,
            thresholds,
        }
    }

    /// The labels of the series.
    #[must_use]
    pub fn by(&self) -> &str {
        &self.by
    }

    /// The highest value of a gauge.
    #[must_use]
    pub fn max(&self, gauge: &str) -> String {
        format!("max by ({}) ({gauge})", self.by)
    }

    /// By how much a counter grew within the window.
    #[must_use]
    pub fn increase(&self, counter: &str) -> String {
        let (by, window) = (&self.by, &self.window);
        format!("sum by ({by}) (increase({counter}[{window}]))")
    }

    /// By how much a counter of requests grew within the window, if that is at least the minimum number of requests.
    #[must_use]
    pub fn enough(&self, counter: &str) -> String {
        let count = format!("round({}, 1e-6)", self.increase(counter));
        match self.minimum_requests {
            0 => format!("({count} > 0)"),
            minimum => format!("({count} >= {minimum})"),
        }
    }

    /// The part of all requests that `part` counts.
    #[must_use]
    pub fn per_request(&self, part: &str) -> String {
        format!("{}\n/ {}", self.increase(part), self.enough(REQUESTS))
    }

    /// The part of all requests that `part`, a selector of a metric, counts.
    ///
    /// # Errors
    /// The metric does not have the label of the rule.
    pub fn share(&self, metric: &Definition, part: &str) -> Result<String, Inexpressible> {
        self.check_label(metric)?;
        Ok(self.per_request(part))
    }

    /// A quantile of a histogram of durations.
    ///
    /// # Errors
    /// The histogram does not have the label of the rule, or no edge at one of its thresholds.
    pub fn quantile(&self, histogram: &Definition, q: f64) -> Result<String, Inexpressible> {
        self.check_label(histogram)?;
        self.check_edges()?;
        let (by, window, metric) = (&self.by, &self.window, histogram.name);
        let count = self.enough(&format!("{metric}_count"));
        Ok(format!(
            "histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket[{window}])))\n\
             and on ({by}) {count}"
        ))
    }

    /// Whether a metric has the label of the rule.
    ///
    /// # Errors
    /// It does not.
    pub fn check_label(&self, metric: &Definition) -> Result<(), Inexpressible> {
        match self.per {
            Some(per) if !metric.labels.contains(&per.label()) => Err(Inexpressible::NoLabel {
                per: per.label(),
                metric: metric.name,
                labels: metric.labels.join(", "),
            }),
            _ => Ok(()),
        }
    }

    /// Between two edges a bucket cannot tell on which side of a threshold a quantile is.
    fn check_edges(&self) -> Result<(), Inexpressible> {
        let thresholds = [
            ("warning", self.thresholds.warning),
            ("critical", self.thresholds.critical),
            ("recovery", self.thresholds.recovery),
        ];
        for (threshold, value) in thresholds {
            if DURATION_EDGES_S.contains(&value) {
                continue;
            }
            let nearest = DURATION_EDGES_S
                .iter()
                .min_by(|one, other| (**one - value).abs().total_cmp(&(**other - value).abs()));
            return Err(Inexpressible::NotAnEdge {
                threshold,
                value: Unit::Seconds.show(value),
                nearest: nearest.map_or_else(String::new, |edge| Unit::Seconds.show(*edge)),
            });
        }
        Ok(())
    }
}

/// The labels of the series.
pub(super) fn by(per: Option<Per>) -> String {
    let replica = format!("job, {INSTANCE}");
    match per {
        None => replica,
        Some(per) => format!("{replica}, {}", per.label()),
    }
}

/// A duration as Prometheus writes it: `37s500ms`.
pub(super) fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let mut text = String::new();
    for (size, unit) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds >= size && seconds.is_multiple_of(size) && ms == 0 {
            return format!("{}{unit}", seconds / size);
        }
    }
    // WriteWatch to a string cannot fail.
    if seconds > 0 {
        let _ = write!(text, "{seconds}s");
    }
    if ms > 0 || seconds == 0 {
        let _ = write!(text, "{ms}ms");
    }
    text
}
