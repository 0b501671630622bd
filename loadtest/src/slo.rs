//! Service level objectives (SLOs), which are the thresholds of a test: `p99<800ms`,
//! `error_rate<0.5%`, `chat:first_token_p95<=1s`, `rps>=45`.

use serde::{Deserialize, Serialize};
use weir::units;

use crate::stats::{LatencyHistogram, RequestStats, RunStats};

/// The name of requests to `--direct` in a threshold.
pub const DIRECT: &str = "direct";
/// With a higher error rate the backend is no baseline for what the sidecar adds.
const DIRECT_ERRORS_MAX: f64 = 0.01;
/// With fewer requests a 99th percentile is not meaningful.
const ENOUGH_FOR_P99: u64 = 1000;

/// One threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// As given on the command line.
    pub text: String,
    /// Applies only to requests with this name.
    name: Option<String>,
    metric: Metric,
    operator: Operator,
    /// Milliseconds, a share, or a rate.
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    Latency(Statistic),
    FirstToken(Statistic),
    TokenTime(Statistic),
    /// The latency that the sidecar adds to that of the backend.
    Added(Statistic),
    ErrorRate,
    Rps,
    Unsent,
    /// As a share of the requests that were due.
    UnsentShare,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Quantile(f64),
    Mean,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// A threshold as a line in a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChartThreshold {
    pub metric: ChartMetric,
    /// Milliseconds, a share, or requests per second.
    pub bound: f64,
}

/// The metric of a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChartMetric {
    /// With the quantile of the threshold, if it has one.
    Latency(Option<f64>),
    FirstToken,
    ErrorRate,
    Rps,
}

/// The result of a threshold.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SloResult {
    pub slo: String,
    pub actual: f64,
    /// `actual` with its unit.
    pub shown: String,
    pub ok: bool,
    /// How many requests were measured for it.
    pub count: u64,
    /// A remark on its significance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Totals of a run that are not part of its statistics.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunTotals {
    /// From the start to the end of the last response.
    pub seconds: f64,
    pub unsent: u64,
}

/// An invalid threshold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--slo {text:?}: {problem}; examples: p99<800ms, error_rate<0.5%, rps>=45, first_token_p95<1s, added_p99<5ms, chat:p99<1s"
)]
pub struct SloError {
    text: String,
    problem: &'static str,
}

impl Slo {
    /// Parses a threshold.
    ///
    /// # Errors
    /// What is invalid, with examples.
    pub fn parse(text: &str) -> Result<Self, SloError> {
        let invalid = |problem| SloError {
            text: text.to_owned(),
            problem,
        };
        if text.chars().any(char::is_control) {
            return Err(invalid("it contains a control character"));
        }
        let at = text
            .find(['<', '>'])
            .ok_or_else(|| invalid("expected < or >"))?;
        let (left, right) = text.split_at(at);
        let (operator, right) = if let Some(right) = right.strip_prefix("<=") {
            (Operator::AtMost, right)
        } else if let Some(right) = right.strip_prefix(">=") {
            (Operator::AtLeast, right)
        } else if let Some(right) = right.strip_prefix('<') {
            (Operator::Below, right)
        } else {
            (Operator::Above, right.get(1..).unwrap_or_default())
        };
        let (name, metric) = match left.trim().split_once(':') {
            Some((name, metric)) => (Some(name.to_owned()), metric),
            None => (None, left.trim()),
        };
        let mut metric = metric_of(metric).ok_or_else(|| invalid("unknown metric"))?;
        if metric == Metric::Unsent && right.trim().ends_with('%') {
            metric = Metric::UnsentShare;
        }
        let bound = bound_of(metric, right.trim())
            .ok_or_else(|| invalid("the bound has the wrong unit"))?;
        if matches!(metric, Metric::Unsent | Metric::UnsentShare) && name.is_some() {
            return Err(invalid("unsent requests have no name"));
        }
        Ok(Slo {
            text: text.to_owned(),
            name,
            metric,
            operator,
            bound,
        })
    }

    /// The name of the requests that it applies to; `None`: all requests.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its line in a chart; `None` if no chart has this metric.
    #[must_use]
    pub fn chart_threshold(&self) -> Option<ChartThreshold> {
        let quantile = |statistic| match statistic {
            Statistic::Quantile(q) => Some(q),
            Statistic::Mean | Statistic::Max => None,
        };
        let metric = match self.metric {
            Metric::Latency(statistic) => ChartMetric::Latency(quantile(statistic)),
            Metric::FirstToken(_) => ChartMetric::FirstToken,
            Metric::ErrorRate => ChartMetric::ErrorRate,
            Metric::Rps => ChartMetric::Rps,
            Metric::TokenTime(_) | Metric::Added(_) | Metric::Unsent | Metric::UnsentShare => {
                return None;
            }
        };
        Some(ChartThreshold {
            metric,
            bound: self.bound,
        })
    }

    #[must_use]
    pub fn needs_direct(&self) -> bool {
        matches!(self.metric, Metric::Added(_))
    }

    /// The default thresholds for errors and unsent requests, unless there is one for them: a test with nothing but
    /// errors, or with most requests unsent, must not pass.
    #[must_use]
    pub fn implied(given: &[Slo]) -> Vec<Slo> {
        let is_given = |metrics: &[Metric]| {
            let mut all = given.iter().map(|slo| slo.metric);
            all.any(|metric| metrics.contains(&metric))
        };
        let mut implied = Vec::new();
        if !is_given(&[Metric::ErrorRate]) {
            implied.push("error_rate<1%");
        }
        if !is_given(&[Metric::Unsent, Metric::UnsentShare]) {
            implied.push("unsent<1%");
        }
        let implied = implied.into_iter().map(Slo::parse);
        implied.filter_map(Result::ok).collect()
    }

    /// Evaluates the threshold.
    #[must_use]
    pub fn evaluate(&self, run: &RunStats, totals: &RunTotals) -> SloResult {
        let stats = match &self.name {
            None => run.all(),
            Some(name) => match run.by_name.get(&**name) {
                Some(stats) => stats.clone(),
                None if name == DIRECT => run.direct.clone(),
                None => RequestStats::default(),
            },
        };
        let direct = &run.direct;
        let unsent = totals.unsent as f64;
        let (actual, count) = match self.metric {
            Metric::Latency(statistic) => {
                (value_of(statistic, &stats.latency), stats.latency.count())
            }
            Metric::FirstToken(statistic) => (
                value_of(statistic, &stats.first_token),
                stats.first_token.count(),
            ),
            Metric::TokenTime(statistic) => (
                value_of(statistic, &stats.token_time),
                stats.token_time.count(),
            ),
            Metric::Added(statistic) => (
                value_of(statistic, &stats.latency) - value_of(statistic, &direct.latency),
                stats.latency.count().min(direct.latency.count()),
            ),
            Metric::ErrorRate => (stats.error_rate(), stats.requests),
            Metric::Rps => (
                stats.requests as f64 / totals.seconds.max(0.001),
                stats.requests,
            ),
            Metric::Unsent => (unsent, stats.requests),
            Metric::UnsentShare => (
                unsent / (stats.requests as f64 + unsent).max(1.0),
                stats.requests,
            ),
        };
        let is_met = match self.operator {
            Operator::Below => actual < self.bound,
            Operator::AtMost => actual <= self.bound,
            Operator::Above => actual > self.bound,
            Operator::AtLeast => actual >= self.bound,
        };
        // The latency of errors is no baseline.
        let failed = self.needs_direct() && direct.error_rate() >= DIRECT_ERRORS_MAX;
        let note = match failed {
            true => Some(format!(
                "{:.1} % of the requests to --direct failed",
                direct.error_rate() * 100.0
            )),
            false => self.note(count),
        };
        SloResult {
            slo: self.text.clone(),
            actual,
            shown: self.show(actual),
            // A threshold without measurements fails.
            ok: is_met && count > 0 && !failed,
            count,
            note,
        }
    }

    fn show(&self, actual: f64) -> String {
        match self.metric {
            Metric::ErrorRate | Metric::UnsentShare => format!("{:.3} %", actual * 100.0),
            Metric::Rps => format!("{actual:.1}/s"),
            Metric::Unsent => format!("{actual:.0}"),
            _ => format!("{actual:.1} ms"),
        }
    }

    fn note(&self, count: u64) -> Option<String> {
        if count == 0 {
            return Some("no requests were measured".to_owned());
        }
        let (Metric::Latency(statistic)
        | Metric::FirstToken(statistic)
        | Metric::TokenTime(statistic)
        | Metric::Added(statistic)) = self.metric
        else {
            return None;
        };
        let Statistic::Quantile(q) = statistic else {
            return None;
        };
        // Enough requests to have ten above the quantile.
        let enough = ((10.0 / (1.0 - q)).round() as u64).min(ENOUGH_FOR_P99 * 10);
        (count < enough).then(|| {
            format!(
                "only {count} requests: this percentile is not meaningful with fewer than {enough}"
            )
        })
    }
}

fn value_of(statistic: Statistic, times: &LatencyHistogram) -> f64 {
    match statistic {
        Statistic::Quantile(q) => times.quantile_ms(q),
        Statistic::Mean => times.mean_ms(),
        Statistic::Max => times.max_ms(),
    }
}

fn metric_of(text: &str) -> Option<Metric> {
    if let Some(statistic) = statistic_of(text) {
        return Some(Metric::Latency(statistic));
    }
    for (prefix, metric) in [
        ("latency_", Metric::Latency as fn(Statistic) -> Metric),
        ("first_token_", Metric::FirstToken),
        ("token_time_", Metric::TokenTime),
        ("added_", Metric::Added),
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return statistic_of(rest).map(metric);
        }
    }
    match text {
        "error_rate" => Some(Metric::ErrorRate),
        "rps" => Some(Metric::Rps),
        "unsent" => Some(Metric::Unsent),
        _ => None,
    }
}

/// `p99` is 0.99, `p999` 0.999.
fn statistic_of(text: &str) -> Option<Statistic> {
    match text {
        "mean" => return Some(Statistic::Mean),
        "max" => return Some(Statistic::Max),
        _ => {}
    }
    let digits = text.strip_prefix('p')?;
    if !(2..=5).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let share: f64 = format!("0.{digits}").parse().ok()?;
    (share > 0.0).then_some(Statistic::Quantile(share))
}

fn number(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn bound_of(metric: Metric, text: &str) -> Option<f64> {
    match metric {
        Metric::ErrorRate | Metric::UnsentShare => units::ratio(text).ok(),
        Metric::Rps => number(text.trim_end_matches("/s")),
        Metric::Unsent => number(text),
        _ => units::duration(text)
            .ok()
            .map(|duration| duration.as_secs_f64() * 1000.0),
    }
}

#[cfg(test)]
#[path = "slo/tests.rs"]
mod tests;
