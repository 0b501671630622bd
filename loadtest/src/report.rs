//! What came of a test, as people and machines read it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pacer::Pace;
use crate::sidecar::{Beside, Seen};
use crate::slo::{Achieved, Held, Slo, error_rate};
use crate::stats::{Named, Tallies, Tally};

pub mod baseline;
pub mod capacity;
pub mod html;
pub mod junit;
pub mod summary;
pub mod terminal;

use baseline::Worse;
pub use summary::{ByName, HeatMap, Latency, Second};

/// With senders later than this in the median, the machine of the test was what held it back.
const LATE_MS_MAX: f64 = 5.0;
/// The sender's one processor is busy beyond this share of the time.
const PROCESSOR_MAX: f64 = 0.9;
/// With all users busy for more than this share of requests, it was no open test.
const BUSY_MAX: f64 = 0.01;

/// The whole result; `--json` writes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub scenario: String,
    pub target: String,
    /// Requests a second that were asked for, as they were written.
    #[serde(default)]
    pub rate: String,
    /// When the first request was due: RFC 3339, in UTC.
    #[serde(default)]
    pub started_at: String,
    #[serde(default)]
    pub versions: Versions,
    /// What the same questions are asked again with.
    #[serde(default)]
    pub seed: u64,
    /// Seconds that the schedule has.
    pub duration_s: f64,
    /// Seconds before it, that are in no figure.
    #[serde(default)]
    pub warm_up_s: f64,
    /// Requests that came due: those that were sent, past the sidecar too, and `unsent`.
    #[serde(default)]
    pub due: u64,
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
    pub slos: Vec<Held>,
    pub by_name: BTreeMap<String, ByName>,
    /// The backend, past the sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<ByName>,
    /// Answers by their status.
    #[serde(default)]
    pub by_status: BTreeMap<u16, u64>,
    /// Requests without any status; each is an error.
    #[serde(default)]
    pub unanswered: u64,
    /// The curve of latencies: pairs of a share and milliseconds.
    #[serde(default)]
    pub percentiles: Vec<(f64, f64)>,
    #[serde(default)]
    pub sender: Sender,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
    /// What got worse since the baseline.
    #[serde(default)]
    pub worse: Vec<Worse>,
    /// It ended by a signal after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted_after_s: Option<f64>,
    /// What is to be known before a figure is believed.
    pub warnings: Vec<String>,
    pub timeline: Vec<Second>,
    #[serde(default)]
    pub heat_map: HeatMap,
}

/// Which programs were at work.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Versions {
    pub weir_load: String,
    /// As the admin address says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weir: Option<String>,
}

impl Versions {
    /// This program's, and that of the weir that was asked.
    #[must_use]
    pub fn with(weir: Option<String>) -> Self {
        Versions {
            weir_load: env!("CARGO_PKG_VERSION").to_owned(),
            weir,
        }
    }
}

/// A time since 1970 as RFC 3339 has it, in whole seconds.
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

/// How the one who sent was.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Sender {
    pub users: usize,
    /// The share of requests that came due while every user was waiting for an answer.
    pub busy_share: f64,
    /// The share of the time that its one processor worked.
    pub processor_share: f64,
    /// It, and not the target, set the pace.
    pub is_bottleneck: bool,
}

/// What weir itself counted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Sidecar {
    #[serde(flatten)]
    pub seen: Seen,
    /// The client's figures and weir's.
    #[serde(default)]
    pub beside: Vec<Beside>,
}

/// What a test was, beside what it measured.
pub struct Asked<'a> {
    pub scenario: &'a str,
    pub target: &'a str,
    pub rate: String,
    /// Since 1970.
    pub started_at: Duration,
    pub weir_version: Option<String>,
    pub seed: u64,
    pub slos: &'a [Slo],
    pub users: usize,
    /// Of the sender's thread.
    pub processor_time: Duration,
    /// How long it ran, the warm-up and the end included.
    pub wall_time: Duration,
    pub warnings: Vec<String>,
    pub sidecar: Option<Seen>,
}

impl Report {
    /// Puts together what was measured.
    #[must_use]
    pub fn new(asked: Asked<'_>, pace: &Pace, tallies: &Tallies) -> Self {
        let tally = tallies.sum();
        let all = tally.all();
        // One that was interrupted is as long as it ran.
        let duration = match pace.is_interrupted() {
            true => pace.elapsed().min(pace.schedule().duration()),
            false => pace.schedule().duration(),
        };
        let duration_s = duration.as_secs_f64().max(0.001);
        let direct = tally.direct.requests;
        let unsent = pace.released().saturating_sub(all.requests + direct);
        let achieved = Achieved {
            seconds: tally.ended.max(duration).as_secs_f64().max(0.001),
            unsent,
        };
        let slos = judge(asked.slos, &tally, &achieved);
        let sender = sender(&asked, pace, &all);
        let sidecar = asked.sidecar.map(|seen| {
            let mut sent = all.clone();
            sent.add(&tally.warm_up);
            let beside = seen.beside(&sent);
            Sidecar { seen, beside }
        });
        let mut warnings = asked.warnings;
        warnings.extend(doubts(&sender, &all, unsent));
        warnings.extend(sidecar.iter().flat_map(differences));
        if pace.is_interrupted() {
            warnings.insert(0, format!("it was interrupted after {duration_s:.1} s"));
        }
        let interrupted_after_s = pace.is_interrupted().then_some(duration_s);
        let holds = slos.iter().all(|slo| slo.ok) && interrupted_after_s.is_none();
        Report {
            verdict: if holds { Verdict::Pass } else { Verdict::Fail },
            scenario: asked.scenario.to_owned(),
            target: asked.target.to_owned(),
            rate: asked.rate,
            started_at: timestamp(asked.started_at),
            versions: Versions::with(asked.weir_version),
            seed: asked.seed,
            duration_s,
            warm_up_s: pace.schedule().warm_up().as_secs_f64(),
            due: pace.released(),
            requests: all.requests,
            errors: all.error_count(),
            error_rate: error_rate(&all),
            refused: all.refused,
            limited: all.limited,
            offered_rps: offered(pace.released() as f64 / duration_s, direct),
            achieved_rps: all.requests as f64 / achieved.seconds,
            unsent,
            latency_ms: Latency::from(&all.latency),
            service_ms: Latency::from(&all.service),
            late_ms: Latency::from(&all.late),
            first_token_ms: Latency::from(&all.first),
            token_time_ms: Latency::from(&all.piece),
            errors_by_kind: all.errors.clone(),
            slos,
            by_name: summary::by_name(&tally),
            direct: (direct > 0).then(|| ByName::from(&tally.direct)),
            by_status: all.statuses.clone(),
            unanswered: all.requests.saturating_sub(all.statuses.values().sum()),
            percentiles: all.latency.curve(),
            sender,
            sidecar,
            worse: Vec::new(),
            interrupted_after_s,
            warnings,
            timeline: summary::timeline(&tally, tallies),
            heat_map: summary::heat_map(&tally, tallies),
        }
    }

    /// Requests that came due for the target, those past the sidecar left out.
    #[must_use]
    pub fn due_here(&self) -> u64 {
        self.requests + self.unsent
    }

    /// Holds it against an earlier run: what got worse by more than `tolerance` fails it.
    pub fn compare(&mut self, before: &Report, tolerance: f64) {
        self.worse = baseline::worse(before, self, tolerance);
        if !self.worse.is_empty() {
            self.verdict = Verdict::Fail;
        }
        self.warnings.extend(baseline::unlike(before, self));
    }
}

/// What was asked for, and what has to hold beside it, where that does not.
fn judge(given: &[Slo], tally: &Tally, achieved: &Achieved) -> Vec<Held> {
    let asked_for = given.iter().map(|slo| slo.judge(tally, achieved));
    let implied = Slo::implied(given).into_iter().map(|slo| Held {
        note: Some("nobody asked for it, and it has to hold all the same".to_owned()),
        ..slo.judge(tally, achieved)
    });
    asked_for.chain(implied.filter(|held| !held.ok)).collect()
}

fn sender(asked: &Asked<'_>, pace: &Pace, all: &Named) -> Sender {
    let processor_share =
        asked.processor_time.as_secs_f64() / asked.wall_time.as_secs_f64().max(0.001);
    let busy_share = pace.busy_share();
    let is_late = all.late.quantile_ms(0.5) > LATE_MS_MAX;
    Sender {
        users: asked.users,
        busy_share,
        processor_share,
        is_bottleneck: processor_share > PROCESSOR_MAX || (is_late && busy_share <= BUSY_MAX),
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
fn doubts(sender: &Sender, all: &Named, unsent: u64) -> Vec<String> {
    let mut doubts = Vec::new();
    let late_ms = all.late.quantile_ms(0.5);
    if sender.is_bottleneck {
        doubts.push(format!(
            "the sender was the bottleneck: its processor was busy for {:.0} % of the time, and half of the requests left {late_ms:.1} ms late or later; what is measured is weir-load and not the target",
            sender.processor_share * 100.0
        ));
    }
    if sender.busy_share > BUSY_MAX {
        doubts.push(format!(
            "all {} users were waiting for answers when {:.1} % of the requests came due; those waited, and their waiting counts; with more --users they would have been sent at once",
            sender.users,
            sender.busy_share * 100.0
        ));
    }
    if unsent > 0 {
        doubts.push(format!(
            "{unsent} requests were due and could not be sent in time; they are in no figure but this"
        ));
    }
    doubts
}

fn differences(sidecar: &Sidecar) -> impl Iterator<Item = String> {
    let differ = sidecar.beside.iter().filter(|one| !one.ok);
    differ.map(|one| {
        format!(
            "{}: {:.1} here and {:.1} by weir, which is more than {:.1} apart: somebody else asks it, too, or something stands between",
            one.figure, one.client, one.weir, one.allowed
        )
    })
}
