//! Service level objectives: `p99<800ms`, `error_rate<0.5%`, `chat:first_token_p95<=1s`, `rps>=45`.

use serde::{Deserialize, Serialize};
use weir::config::units;

use crate::tally::{Named, Tally};

/// The name that requests past the sidecar are counted under.
pub const DIRECT: &str = "direct";
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
    pub rps: f64,
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
        let measure = measure_of(measure).ok_or_else(|| wrong("unknown figure"))?;
        let bound =
            bound_of(measure, right.trim()).ok_or_else(|| wrong("the bound is of another unit"))?;
        Ok(Slo {
            text: text.to_owned(),
            name,
            measure,
            comparison,
            bound,
        })
    }

    #[must_use]
    pub fn needs_direct(&self) -> bool {
        matches!(self.measure, Measure::Added(_))
    }

    #[must_use]
    pub fn is_of_errors(&self) -> bool {
        self.measure == Measure::ErrorRate
    }

    /// Looks at what was measured.
    #[must_use]
    pub fn judge(&self, tally: &Tally, achieved: &Achieved) -> Held {
        let named = match &self.name {
            None => tally.all_but(DIRECT),
            Some(name) => tally.by_name.get(&**name).cloned().unwrap_or_default(),
        };
        let direct = tally.by_name.get(DIRECT).cloned().unwrap_or_default();
        let (actual, count) = match self.measure {
            Measure::Latency(statistic) => (of(statistic, &named.latency), named.latency.count()),
            Measure::FirstToken(statistic) => (of(statistic, &named.first), named.first.count()),
            Measure::TokenTime(statistic) => (of(statistic, &named.piece), named.piece.count()),
            Measure::Added(statistic) => (
                of(statistic, &named.latency) - of(statistic, &direct.latency),
                named.latency.count().min(direct.latency.count()),
            ),
            Measure::ErrorRate => (error_rate(&named), named.requests),
            Measure::Rps => (achieved.rps, named.requests),
            Measure::Unsent => (achieved.unsent as f64, named.requests),
        };
        let holds = match self.comparison {
            Comparison::Below => actual < self.bound,
            Comparison::AtMost => actual <= self.bound,
            Comparison::Above => actual > self.bound,
            Comparison::AtLeast => actual >= self.bound,
        };
        Held {
            slo: self.text.clone(),
            actual,
            shown: self.show(actual),
            // Nothing measured is nothing held.
            ok: holds && count > 0,
            count,
            note: self.note(count),
        }
    }

    fn show(&self, actual: f64) -> String {
        match self.measure {
            Measure::ErrorRate => format!("{:.3} %", actual * 100.0),
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

fn of(statistic: Statistic, times: &crate::tally::Times) -> f64 {
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
    format!("0.{digits}").parse().ok().map(Statistic::Quantile)
}

fn bound_of(measure: Measure, text: &str) -> Option<f64> {
    match measure {
        Measure::ErrorRate => units::ratio(text).ok(),
        Measure::Rps => text.trim_end_matches("/s").parse().ok(),
        Measure::Unsent => text.parse().ok(),
        _ => units::duration(text)
            .ok()
            .map(|duration| duration.as_secs_f64() * 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pacer::Counts;
    use crate::tally::{Cache, Measured, Tallies};
    use crate::wanted::Judged;

    fn tally() -> Tally {
        let tallies = Tallies::new(Duration::from_secs(1));
        for ms in 1..=1000_u64 {
            for (name, offset) in [("chat", 10), (DIRECT, 0)] {
                tallies.record(
                    &Measured {
                        name: name.into(),
                        due: Duration::ZERO,
                        sent: Duration::ZERO,
                        first: Some(Duration::from_millis(5)),
                        last: Some(Duration::from_millis(5)),
                        done: Duration::from_millis(ms + offset),
                        pieces: 0,
                        judged: if ms % 200 == 0 && name == "chat" {
                            Judged::Error
                        } else {
                            Judged::Success
                        },
                        status: Some(200),
                        cache: Cache::NoHit,
                        error: None,
                    },
                    Counts::InTheTest,
                );
            }
        }
        tallies.sum()
    }

    #[test]
    fn objectives_are_held_or_not() {
        let achieved = Achieved {
            rps: 48.0,
            unsent: 0,
        };
        for (text, ok) in [
            ("p99<1010ms", true),
            ("p99<800ms", false),
            ("p50<=520ms", true),
            ("mean<520ms", true),
            ("max<1s", false),
            ("error_rate<0.5%", false),
            ("error_rate<=0.5%", true),
            ("chat:p99<2s", true),
            ("nobody:p99<2s", false),
            ("added_p99<15ms", true),
            ("added_p99<5ms", false),
            ("first_token_p95<6ms", true),
            ("rps>=45", true),
            ("rps>=50/s", false),
            ("unsent<1", true),
        ] {
            let held = Slo::parse(text).expect(text).judge(&tally(), &achieved);
            assert_eq!(held.ok, ok, "{held:?}");
        }
    }

    #[test]
    fn few_requests_are_said_to_be_few() {
        let held = |text: &str| {
            Slo::parse(text)
                .expect("one")
                .judge(&tally(), &Achieved::default())
        };
        assert_eq!(held("p99<2s").note, None);
        assert!(held("p999<2s").note.expect("a note").contains("10000"));
        assert!(
            held("nobody:p50<2s")
                .note
                .expect("a note")
                .contains("no request")
        );
    }

    #[test]
    fn what_is_no_objective_is_told_with_an_example() {
        for text in [
            "",
            "p99",
            "p99=1s",
            "p9<1s",
            "p99<1",
            "error_rate<1",
            "rps<fast",
            "latency<1s",
        ] {
            let why = Slo::parse(text).expect_err(text);
            assert!(why.contains("such as p99<800ms"), "{why}");
        }
    }
}
