//! What came of a test, as people and machines read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pacer::Pace;
use crate::sidecar::Seen;
use crate::slo::{Achieved, DIRECT, Held, Slo, error_rate};
use crate::tally::{Named, Tallies, Tally, Times};

pub mod baseline;
pub mod html;
pub mod junit;
pub mod terminal;

/// With senders later than this in the median, the machine of the test was what held it back.
const LATE_MS_MAX: f64 = 5.0;
/// The client's count and weir's may differ by this share: requests under way at either reading.
const DIFFERENCE_MAX: f64 = 0.01;

/// The whole result; `--json` writes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub scenario: String,
    pub target: String,
    /// Seconds that the schedule has.
    pub duration_s: f64,
    /// Sent, and answered or failed.
    pub requests: u64,
    pub errors: u64,
    pub error_rate: f64,
    /// Requests that had to be refused, and were.
    pub refused: u64,
    /// 429 where that may come.
    pub limited: u64,
    pub offered_rps: f64,
    pub achieved_rps: f64,
    /// Due, and not sent in time.
    pub unsent: u64,
    pub latency_ms: Latency,
    /// From sent to done: what a tester that waits for its answers would say.
    pub service_ms: Latency,
    /// From due to sent.
    pub late_ms: Latency,
    pub first_token_ms: Latency,
    pub token_time_ms: Latency,
    pub errors_by_kind: BTreeMap<String, u64>,
    pub slos: Vec<SloResult>,
    pub by_name: BTreeMap<String, ByName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<serde_json::Value>,
    /// What is to be known before a figure is believed.
    pub warnings: Vec<String>,
    pub timeline: Vec<Second>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    Fail,
}

/// Milliseconds, and how many there were.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl From<&Times> for Latency {
    fn from(times: &Times) -> Self {
        Latency {
            count: times.count(),
            mean: times.mean_ms(),
            p50: times.quantile_ms(0.5),
            p90: times.quantile_ms(0.9),
            p95: times.quantile_ms(0.95),
            p99: times.quantile_ms(0.99),
            p999: times.quantile_ms(0.999),
            max: times.max_ms(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SloResult {
    pub slo: String,
    pub actual: f64,
    pub shown: String,
    pub ok: bool,
    pub count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl From<Held> for SloResult {
    fn from(held: Held) -> Self {
        SloResult {
            slo: held.slo,
            actual: held.actual,
            shown: held.shown,
            ok: held.ok,
            count: held.count,
            note: held.note,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ByName {
    pub requests: u64,
    pub errors: u64,
    pub error_rate: f64,
    pub refused: u64,
    pub limited: u64,
    pub latency_ms: Latency,
    pub first_token_ms: Latency,
    pub token_time_ms: Latency,
    pub errors_by_kind: BTreeMap<String, u64>,
}

impl From<&Named> for ByName {
    fn from(named: &Named) -> Self {
        ByName {
            requests: named.requests,
            errors: named.error_count(),
            error_rate: error_rate(named),
            refused: named.refused,
            limited: named.limited,
            latency_ms: Latency::from(&named.latency),
            first_token_ms: Latency::from(&named.first),
            token_time_ms: Latency::from(&named.piece),
            errors_by_kind: named.errors.clone(),
        }
    }
}

/// A part of the test, by when its requests were due.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Second {
    pub at_s: f64,
    pub due: u64,
    pub done: u64,
    pub errors: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// What a test was, beside what it measured.
pub struct Asked<'a> {
    pub scenario: &'a str,
    pub target: &'a str,
    pub slos: &'a [Slo],
    pub warnings: Vec<String>,
    pub sidecar: Option<Seen>,
}

impl Report {
    /// Puts together what was measured.
    #[must_use]
    pub fn new(asked: Asked<'_>, pace: &Pace, tallies: &Tallies) -> Self {
        let tally = tallies.sum();
        let all = tally.all_but(DIRECT);
        let schedule = pace.schedule();
        let direct = tally.by_name.get(DIRECT).map_or(0, |named| named.requests);
        let unsent = schedule.total().saturating_sub(all.requests + direct);
        let achieved = Achieved {
            rps: all.requests as f64 / tally.ended.max(schedule.duration()).as_secs_f64(),
            unsent,
        };
        let slos: Vec<SloResult> = asked
            .slos
            .iter()
            .map(|slo| slo.judge(&tally, &achieved).into())
            .collect();
        let mut warnings = asked.warnings;
        warnings.extend(doubts(&all, unsent, asked.sidecar.as_ref(), direct));
        Report {
            verdict: match slos.iter().all(|slo| slo.ok) {
                true => Verdict::Pass,
                false => Verdict::Fail,
            },
            scenario: asked.scenario.to_owned(),
            target: asked.target.to_owned(),
            duration_s: schedule.duration().as_secs_f64(),
            requests: all.requests,
            errors: all.error_count(),
            error_rate: error_rate(&all),
            refused: all.refused,
            limited: all.limited,
            offered_rps: offered(schedule.mean_rate(), direct),
            achieved_rps: achieved.rps,
            unsent,
            latency_ms: Latency::from(&all.latency),
            service_ms: Latency::from(&all.service),
            late_ms: Latency::from(&all.late),
            first_token_ms: Latency::from(&all.first),
            token_time_ms: Latency::from(&all.piece),
            errors_by_kind: all.errors.clone(),
            slos,
            by_name: tally
                .by_name
                .iter()
                .map(|(name, named)| (name.to_string(), ByName::from(named)))
                .collect(),
            sidecar: asked
                .sidecar
                .and_then(|seen| serde_json::to_value(seen).ok()),
            warnings,
            timeline: timeline(&tally, tallies),
        }
    }
}

/// Of those towards the target: past it goes every second one.
fn offered(rate: f64, direct: u64) -> f64 {
    match direct {
        0 => rate,
        _ => rate / 2.0,
    }
}

/// What makes the figures less than they look.
fn doubts(all: &Named, unsent: u64, seen: Option<&Seen>, direct: u64) -> Vec<String> {
    let mut doubts = Vec::new();
    let late_ms = all.late.quantile_ms(0.5);
    if late_ms > LATE_MS_MAX {
        doubts.push(format!(
            "half of the requests left {late_ms:.1} ms late or later: the sender was the bottleneck, or had too few --users"
        ));
    }
    if unsent > 0 {
        doubts.push(format!(
            "{unsent} requests were due and could not be sent in time; they are in no figure but this"
        ));
    }
    if let Some(seen) = seen {
        let ours = all.requests as f64;
        let theirs = seen.requests as f64;
        if direct == 0 && (ours - theirs).abs() > (ours * DIFFERENCE_MAX).max(2.0) {
            doubts.push(format!(
                "weir counted {theirs:.0} requests, and {ours:.0} were sent: somebody else asks it, too"
            ));
        }
    }
    doubts
}

fn timeline(tally: &Tally, tallies: &Tallies) -> Vec<Second> {
    let part_s = tallies.part().as_secs_f64();
    let parts = tally.parts.iter();
    parts
        .map(|(place, part)| Second {
            at_s: *place as f64 * part_s,
            due: part.due,
            done: part.done,
            errors: part.errors,
            p50_ms: part.latency.quantile_ms(0.5),
            p99_ms: part.latency.quantile_ms(0.99),
        })
        .collect()
}
