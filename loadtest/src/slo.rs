//! Service level objectives: `p99<800ms`, `error_rate<0.5%`, `chat:first_token_p95<=1s`, `rps>=45`.

use serde::{Deserialize, Serialize};
use weir::config::units;

use crate::stats::{Named, Tally};

/// What requests past the sidecar are called in an objective.
pub const DIRECT: &str = "direct";
/// With this share of errors the backend itself is no yardstick of what the sidecar adds.
const DIRECT_ERRORS_MAX: f64 = 0.01;
/// With fewer requests a 99th percentile says little.
const ENOUGH_FOR_P99: u64 = 1000;

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// As it was written.
    pub text: String,
    /// Of requests with this name only.
    name: Option<String>,
    measure: Measure,
    comparison: Comparison,
    /// Milliseconds, a share, or a rate.
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    Latency(Statistic),
    FirstToken(Statistic),
    TokenTime(Statistic),
    /// What the sidecar adds to the backend alone.
    Added(Statistic),
    ErrorRate,
    Rps,
    Unsent,
    /// Of those that were due.
    UnsentShare,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Quantile(f64),
    Mean,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// An objective as a line across a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub figure: Figure,
    /// Milliseconds, a share, or requests a second.
    pub bound: f64,
}

/// What a chart is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// With the quantile that is meant, where one is.
    Latency(Option<f64>),
    FirstToken,
    ErrorRate,
    Rps,
}

/// What became of an objective.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Held {
    pub slo: String,
    pub actual: f64,
    /// As people read it.
    pub shown: String,
    pub ok: bool,
    /// Requests behind it.
    pub count: u64,
    /// What is to be thought of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What was achieved beside the times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Achieved {
    /// From the start to the last answer.
    pub seconds: f64,
    pub unsent: u64,
}

impl Slo {
    /// # Errors
    /// What was wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "--slo {text:?}: {why}; such as p99<800ms, error_rate<0.5%, rps>=45, first_token_p95<1s, added_p99<5ms, chat:p99<1s"
            )
        };
        if text.chars().any(char::is_control) {
            return Err(wrong("there is a character in it that cannot be seen"));
        }
        let at = text
            .find(['<', '>'])
            .ok_or_else(|| wrong("no < or > in it"))?;
        let (left, right) = text.split_at(at);
        let (comparison, right) = if let Some(right) = right.strip_prefix("<=") {
            (Comparison::AtMost, right)
        } else if let Some(right) = right.strip_prefix(">=") {
            (Comparison::AtLeast, right)
        } else if let Some(right) = right.strip_prefix('<') {
            (Comparison::Below, right)
        } else {
            (Comparison::Above, right.get(1..).unwrap_or_default())
        };
        let (name, measure) = match left.trim().split_once(':') {
            Some((name, measure)) => (Some(name.to_owned()), measure),
            None => (None, left.trim()),
        };
        let mut measure = measure_of(measure).ok_or_else(|| wrong("unknown figure"))?;
        if measure == Measure::Unsent && right.trim().ends_with('%') {
            measure = Measure::UnsentShare;
        }
        let bound =
            bound_of(measure, right.trim()).ok_or_else(|| wrong("the bound is of another unit"))?;
        if matches!(measure, Measure::Unsent | Measure::UnsentShare) && name.is_some() {
            return Err(wrong("what was not sent has no name"));
        }
        Ok(Slo {
            text: text.to_owned(),
            name,
            measure,
            comparison,
            bound,
        })
    }

    /// The name of the requests that it is of; `None`: of all.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it is drawn; `None` where no chart has such a figure.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        let quantile = |statistic| match statistic {
            Statistic::Quantile(q) => Some(q),
            Statistic::Mean | Statistic::Max => None,
        };
        let figure = match self.measure {
            Measure::Latency(statistic) => Figure::Latency(quantile(statistic)),
            Measure::FirstToken(_) => Figure::FirstToken,
            Measure::ErrorRate => Figure::ErrorRate,
            Measure::Rps => Figure::Rps,
            Measure::TokenTime(_) | Measure::Added(_) | Measure::Unsent | Measure::UnsentShare => {
                return None;
            }
        };
        Some(Line {
            figure,
            bound: self.bound,
        })
    }

    #[must_use]
    pub fn needs_direct(&self) -> bool {
        matches!(self.measure, Measure::Added(_))
    }

    /// What has to hold beside what was asked for: a test in which nothing but errors came, or of which most
    /// was never sent, is no pass only because nobody asked for that. Where somebody did, that counts.
    #[must_use]
    pub fn implied(given: &[Slo]) -> Vec<Slo> {
        let is_given = |measures: &[Measure]| {
            let mut measured = given.iter().map(|slo| slo.measure);
            measured.any(|measure| measures.contains(&measure))
        };
        let mut implied = Vec::new();
        if !is_given(&[Measure::ErrorRate]) {
            implied.push("error_rate<1%");
        }
        if !is_given(&[Measure::Unsent, Measure::UnsentShare]) {
            implied.push("unsent<1%");
        }
        let implied = implied.into_iter().map(Slo::parse);
        implied.filter_map(Result::ok).collect()
    }

    /// Looks at what was measured.
    #[must_use]
    pub fn judge(&self, tally: &Tally, achieved: &Achieved) -> Held {
        let named = match &self.name {
            None => tally.all(),
            Some(name) => match tally.by_name.get(&**name) {
                Some(named) => named.clone(),
                None if name == DIRECT => tally.direct.clone(),
                None => Named::default(),
            },
        };
        let direct = &tally.direct;
        let unsent = achieved.unsent as f64;
        let (actual, count) = match self.measure {
            Measure::Latency(statistic) => (of(statistic, &named.latency), named.latency.count()),
            Measure::FirstToken(statistic) => (of(statistic, &named.first), named.first.count()),
            Measure::TokenTime(statistic) => (of(statistic, &named.piece), named.piece.count()),
            Measure::Added(statistic) => (
                of(statistic, &named.latency) - of(statistic, &direct.latency),
                named.latency.count().min(direct.latency.count()),
            ),
            Measure::ErrorRate => (error_rate(&named), named.requests),
            Measure::Rps => (
                named.requests as f64 / achieved.seconds.max(0.001),
                named.requests,
            ),
            Measure::Unsent => (unsent, named.requests),
            Measure::UnsentShare => (
                unsent / (named.requests as f64 + unsent).max(1.0),
                named.requests,
            ),
        };
        let holds = match self.comparison {
            Comparison::Below => actual < self.bound,
            Comparison::AtMost => actual <= self.bound,
            Comparison::Above => actual > self.bound,
            Comparison::AtLeast => actual >= self.bound,
        };
        // Errors come fast or late, and are no yardstick.
        let failed = self.needs_direct() && error_rate(direct) >= DIRECT_ERRORS_MAX;
        let note = match failed {
            true => Some(format!(
                "of the requests to --direct {:.1} % failed",
                error_rate(direct) * 100.0
            )),
            false => self.note(count),
        };
        Held {
            slo: self.text.clone(),
            actual,
            shown: self.show(actual),
            // Nothing measured is nothing held.
            ok: holds && count > 0 && !failed,
            count,
            note,
        }
    }

    fn show(&self, actual: f64) -> String {
        match self.measure {
            Measure::ErrorRate | Measure::UnsentShare => format!("{:.3} %", actual * 100.0),
            Measure::Rps => format!("{actual:.1}/s"),
            Measure::Unsent => format!("{actual:.0}"),
            _ => format!("{actual:.1} ms"),
        }
    }

    fn note(&self, count: u64) -> Option<String> {
        if count == 0 {
            return Some("no request was measured for it".to_owned());
        }
        let (Measure::Latency(statistic)
        | Measure::FirstToken(statistic)
        | Measure::TokenTime(statistic)
        | Measure::Added(statistic)) = self.measure
        else {
            return None;
        };
        let Statistic::Quantile(q) = statistic else {
            return None;
        };
        // As many as leave ten beyond the quantile.
        let enough = ((10.0 / (1.0 - q)).round() as u64).min(ENOUGH_FOR_P99 * 10);
        (count < enough).then(|| {
            format!("on {count} requests; fewer than {enough} say little about this percentile")
        })
    }
}

/// The share of requests that failed.
#[must_use]
pub fn error_rate(named: &Named) -> f64 {
    named.error_count() as f64 / named.requests.max(1) as f64
}

fn of(statistic: Statistic, times: &crate::stats::Times) -> f64 {
    match statistic {
        Statistic::Quantile(q) => times.quantile_ms(q),
        Statistic::Mean => times.mean_ms(),
        Statistic::Max => times.max_ms(),
    }
}

fn measure_of(text: &str) -> Option<Measure> {
    if let Some(statistic) = statistic_of(text) {
        return Some(Measure::Latency(statistic));
    }
    for (prefix, measure) in [
        ("latency_", Measure::Latency as fn(Statistic) -> Measure),
        ("first_token_", Measure::FirstToken),
        ("token_time_", Measure::TokenTime),
        ("added_", Measure::Added),
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return statistic_of(rest).map(measure);
        }
    }
    match text {
        "error_rate" => Some(Measure::ErrorRate),
        "rps" => Some(Measure::Rps),
        "unsent" => Some(Measure::Unsent),
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

fn bound_of(measure: Measure, text: &str) -> Option<f64> {
    match measure {
        Measure::ErrorRate | Measure::UnsentShare => units::ratio(text).ok(),
        Measure::Rps => number(text.trim_end_matches("/s")),
        Measure::Unsent => number(text),
        _ => units::duration(text)
            .ok()
            .map(|duration| duration.as_secs_f64() * 1000.0),
    }
}

#[cfg(test)]
#[path = "slo/tests.rs"]
mod tests;
