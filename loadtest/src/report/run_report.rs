//! The result of a run; `--json` writes it, and the other reports are made from it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::summary::{HeatMap, LatencySummary, NameSummary, TimelinePoint};
use crate::sidecar::{Comparison, SidecarMetrics};
use crate::slo::SloResult;

/// The complete result of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub scenario: String,
    pub target: String,
    /// The arrival rate, as given on the command line.
    #[serde(default)]
    pub rate: String,
    /// When the test started: RFC 3339, in UTC.
    #[serde(default)]
    pub started_at: String,
    #[serde(default)]
    pub versions: Versions,
    /// Reproduces the same prompts.
    #[serde(default)]
    pub seed: u64,
    /// The duration of the schedule, without the warm-up.
    pub duration_s: f64,
    /// The duration of the warm-up, which is not measured.
    #[serde(default)]
    pub warm_up_s: f64,
    /// Requests that were due: those that were sent, including `direct`, and `unsent`.
    #[serde(default)]
    pub due: u64,
    /// Requests to the target that were sent, whether they succeeded or failed.
    pub requests: u64,
    pub errors: u64,
    pub error_rate: f64,
    /// Requests that were rejected as expected.
    #[serde(rename = "refused")]
    pub rejected: u64,
    /// Responses of 429 where that is expected.
    #[serde(rename = "limited")]
    pub rate_limited: u64,
    pub offered_rps: f64,
    pub achieved_rps: f64,
    /// Requests that were due and not sent in time.
    pub unsent: u64,
    pub latency_ms: LatencySummary,
    /// From sent to the end of the response: what a closed-model load generator would report.
    pub service_ms: LatencySummary,
    /// From due to sent.
    pub late_ms: LatencySummary,
    pub first_token_ms: LatencySummary,
    pub token_time_ms: LatencySummary,
    pub errors_by_kind: BTreeMap<String, u64>,
    pub slos: Vec<SloResult>,
    pub by_name: BTreeMap<String, NameSummary>,
    /// The backend, without the sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<NameSummary>,
    /// Responses by status.
    #[serde(default)]
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without a response; each is an error.
    #[serde(default)]
    pub unanswered: u64,
    /// The percentile curve of latencies: pairs of a quantile and milliseconds.
    #[serde(default)]
    pub percentiles: Vec<(f64, f64)>,
    #[serde(default)]
    pub sender: SenderSummary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<SidecarSummary>,
    /// Regressions against the baseline.
    #[serde(default, rename = "worse")]
    pub regressions: Vec<Regression>,
    /// When a signal interrupted the test, in seconds since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted_after_s: Option<f64>,
    /// Why results may be unreliable.
    pub warnings: Vec<String>,
    pub timeline: Vec<TimelinePoint>,
    #[serde(default)]
    pub heat_map: HeatMap,
}

/// The versions of the programs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Versions {
    pub weir_load: String,
    /// As reported by the admin address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weir: Option<String>,
}

impl Versions {
    /// The version of this program, and that of weir.
    #[must_use]
    pub fn with(weir: Option<String>) -> Self {
        Versions {
            weir_load: env!("CARGO_PKG_VERSION").to_owned(),
            weir,
        }
    }
}

/// Formats a time since 1970 in RFC 3339, in whole seconds.
#[must_use]
pub fn timestamp(since_1970: Duration) -> String {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |at| at.to_string())
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    Fail,
}

/// Whether the load generator kept up.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SenderSummary {
    pub users: usize,
    /// The share of requests that came due while every user was waiting for a response.
    pub busy_share: f64,
    /// The CPU utilisation of its single thread, from 0 to 1.
    pub processor_share: f64,
    /// Whether the load generator, and not the target, was the bottleneck.
    pub is_bottleneck: bool,
}

/// What weir itself counted, compared with the client.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SidecarSummary {
    #[serde(flatten)]
    pub metrics: SidecarMetrics,
    #[serde(default, rename = "beside")]
    pub comparisons: Vec<Comparison>,
}

impl Report {
    /// Requests to the target that were due, without those to `direct`.
    #[must_use]
    pub fn due_at_target(&self) -> u64 {
        self.requests + self.unsent
    }
}

/// A value that is worse than in the baseline.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Regression {
    #[serde(rename = "figure")]
    pub name: String,
    pub before: f64,
    pub now: f64,
}

impl std::fmt::Display for Regression {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Regression { name, before, now } = self;
        write!(formatter, "{name} was {before:.3} and is {now:.3}")?;
        if *before > 0.0 {
            let percent = (now / before - 1.0).abs() * 100.0;
            write!(formatter, ", {percent:.0} % worse")?;
        }
        Ok(())
    }
}
