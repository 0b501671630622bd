//! `weir-load capacity`: the highest rate at which the objectives hold, and how many replicas a rate wants.
//!
//! goose ends by a switch of its whole process, so that every run is a process of its own: this program
//! with `run`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use serde::Serialize;
use weir::{clock, units};

use crate::output::{self, write};
use crate::report::{Report, Verdict, Versions, capacity, timestamp};
use crate::run::{FAILED, PASSED};
use crate::schedule;
use crate::slo::Slo;
use crate::target::{Target, answers, base, positive};

mod curve;
mod runs;
pub mod search;

use curve::Pace;
pub use curve::Point;
use runs::Runs;

use search::{Bounds, Next, Outcome, Search};

/// The arguments.
#[derive(clap::Args)]
// Of a flag that is given twice the last one counts, so that scripts can have defaults.
#[command(args_override_self = true)]
pub struct Capacity {
    #[command(flatten)]
    target: Target,
    /// Threshold that must hold at a rate, repeatable: 'p99<800ms', 'error_rate<0.5%', 'rps>=45',
    /// 'first_token_p95<1s', 'chat:p99<1s' (only requests named chat). Always applied unless given: error_rate<1%,
    /// unsent<1%
    #[arg(long, value_name = "THRESHOLD", value_parser = Slo::parse, required = true, help_heading = SEARCH)]
    slo: Vec<Slo>,
    /// Rate to start with
    #[arg(long, value_name = "RATE", default_value = "10/s", value_parser = one_rate, help_heading = SEARCH)]
    from: f64,
    /// Highest rate to try
    #[arg(long, value_name = "RATE", default_value = "5000/s", value_parser = one_rate, help_heading = SEARCH)]
    to: f64,
    /// Duration of each run, after its warm-up
    #[arg(short, long, value_name = "DURATION", default_value = "15s", value_parser = positive, help_heading = SEARCH)]
    duration: Duration,
    /// Warm-up before each run; not measured
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = units::duration, help_heading = SEARCH)]
    warm_up: Duration,
    /// Stop when the result is this close to a rate that fails
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = units::ratio, help_heading = SEARCH)]
    precision: f64,
    /// How often the result must hold again
    #[arg(long, value_name = "NUMBER", default_value_t = 2, help_heading = SEARCH)]
    confirmations: usize,
    /// Print how many replicas this rate needs, repeatable
    #[arg(long, value_name = "RATE", value_parser = one_rate, help_heading = SEARCH)]
    replicas_for: Vec<f64>,
    /// Share of each replica's capacity to keep free, at most 90%
    #[arg(long, value_name = "PERCENT", default_value = "20%", value_parser = headroom, help_heading = SEARCH)]
    headroom: f64,
    /// Write all results as JSON
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    json: Option<PathBuf>,
    /// Write an HTML report: one self-contained file
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    report: Option<PathBuf>,
}

const SEARCH: &str = "Search";
const OUTPUT: &str = "Output";

/// What was found; `--json` writes it.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    pub verdict: Verdict,
    pub scenario: String,
    pub target: String,
    /// When the search began: RFC 3339, in UTC.
    pub started_at: String,
    pub versions: Versions,
    /// Seconds of each run, without its warm-up.
    pub run_s: f64,
    pub slos: Vec<String>,
    /// Requests a second; `None`: the objectives hold at no rate that was tried.
    pub capacity_rps: Option<f64>,
    /// The target may well do more than `capacity_rps`: nothing above it failed because of the target.
    pub is_lower_bound: bool,
    pub limited_by: LimitedBy,
    /// Every rate that was tried, once, in order.
    pub curve: Vec<Point>,
    pub replicas: Vec<Replicas>,
}

/// What kept the result from being higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    Objectives,
    /// The sender came to its end first: the target can do more.
    Sender,
    /// It held at the highest rate that was asked for.
    Ceiling,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Replicas {
    pub rate: f64,
    pub count: u64,
    /// Fewer may do, since the target may well do more than was found.
    pub is_upper_bound: bool,
    /// The share of each that is kept free.
    pub headroom: f64,
}

fn one_rate(text: &str) -> Result<f64, String> {
    match schedule::rates(text)?.as_slice() {
        [(from, to)] if from == to && *from > 0.0 => Ok(*from),
        _ => Err(format!("expected one rate such as 50/s, found {text:?}")),
    }
}

fn headroom(text: &str) -> Result<f64, String> {
    let share = units::ratio(text).map_err(|error| error.to_string())?;
    match share <= 0.9 {
        true => Ok(share),
        false => Err("more than 90% kept free leaves hardly anything to use".to_owned()),
    }
}

impl Capacity {
    /// Searches; the exit code.
    ///
    /// # Errors
    /// Why it could not run.
    pub fn execute(mut self) -> anyhow::Result<u8> {
        anyhow::ensure!(
            self.target.scenario != "replay",
            "--scenario replay: a recording has its own rate"
        );
        anyhow::ensure!(
            self.from <= self.to,
            "--from {}/s is more than --to {}/s",
            self.from,
            self.to
        );
        if let Some(slo) = self.slo.iter().find(|slo| slo.needs_direct()) {
            anyhow::bail!("--slo {}: what is added is known only to run", slo.text);
        }
        self.target.target = base("--target", &self.target.target)?;
        self.target.check(None)?;
        output::prepare(&[
            ("--report", self.report.as_ref()),
            ("--json", self.json.as_ref()),
        ])?;
        // Every mistake now, and not as the last words of a run.
        self.target.connecting()?;
        self.target.scenario(0)?;
        answers(&self.target.target)?;
        let runs = Runs::new()?;
        let started_at = clock::unix_now();
        let implied = Slo::implied(&self.slo);
        let slos: Vec<String> = self
            .slo
            .iter()
            .chain(&implied)
            .map(|slo| slo.text.clone())
            .collect();
        let mut search = Search::new(Bounds {
            from: self.from,
            to: self.to,
            precision: self.precision,
            confirmations: self.confirmations,
        });
        let mut curve: Vec<Point> = Vec::new();
        let outcome = loop {
            let rate = match search.next() {
                Next::Done(found) => break Ok(found),
                Next::Try(rate) => rate,
            };
            let point = match self.try_rate(rate, &slos, &runs) {
                Ok(point) => point,
                Err(error) => break Err(error),
            };
            tell(&point, search.is_confirming());
            search.observe(match point.held {
                true => Outcome::Held,
                false => Outcome::Failed,
            });
            curve.push(point);
        };
        // What was found until it broke off is reported, and is no capacity.
        let (found, broken) = match outcome {
            Ok(found) => (self.found(found, slos, &curve, started_at), None),
            Err(error) => (self.found(None, slos, &curve, started_at), Some(error)),
        };
        // Whoever closed the pipe has read enough.
        let _ = writeln!(std::io::stdout(), "{}", capacity::summary(&found));
        write(&self.json, || Ok(serde_json::to_string_pretty(&found)?))?;
        write(&self.report, || Ok(capacity::document(&found)))?;
        match (broken, found.verdict) {
            (Some(error), _) => Err(error),
            (None, Verdict::Pass) => Ok(PASSED),
            (None, Verdict::Fail) => Ok(FAILED),
        }
    }

    fn found(
        &self,
        capacity_rps: Option<f64>,
        slos: Vec<String>,
        runs: &[Point],
        started_at: Duration,
    ) -> Found {
        let curve = curve::merged(runs, capacity_rps);
        let limited_by = curve::limited_by(&curve, capacity_rps);
        let is_lower_bound = limited_by != LimitedBy::Objectives;
        let usable = capacity_rps.map(|rate| rate * (1.0 - self.headroom));
        let replicas = usable.map_or_else(Vec::new, |usable| {
            let rates = self.replicas_for.iter();
            rates
                .map(|rate| Replicas {
                    rate: *rate,
                    count: (rate / usable).ceil() as u64,
                    is_upper_bound: is_lower_bound,
                    headroom: self.headroom,
                })
                .collect()
        });
        Found {
            verdict: match capacity_rps {
                Some(_) => Verdict::Pass,
                None => Verdict::Fail,
            },
            scenario: self.target.scenario.clone(),
            target: self.target.target.clone(),
            started_at: timestamp(started_at),
            versions: Versions::with(None),
            run_s: self.duration.as_secs_f64(),
            slos,
            capacity_rps,
            is_lower_bound,
            limited_by,
            curve,
            replicas,
        }
    }

    fn try_rate(&self, rate: f64, slos: &[String], runs: &Runs) -> anyhow::Result<Point> {
        let report = runs.run(|json| self.run_arguments(rate, slos, json));
        let report = report.with_context(|| format!("the run at {rate}/s"))?;
        Ok(point(rate, &report))
    }

    fn run_arguments(&self, rate: f64, slos: &[String], json: &Path) -> Vec<OsString> {
        let mut arguments = self.target.arguments();
        // Of an hour, since a rate is a whole number of requests.
        let hourly = format!("{:.0}/h", rate * 3600.0);
        // The questions of one run must not be known from the one before.
        let seed: u32 = rand::rng().random();
        let ms = |duration: Duration| format!("{}ms", duration.as_millis());
        for (flag, value) in [
            ("--rate", hourly),
            ("--duration", ms(self.duration)),
            ("--warm-up", ms(self.warm_up)),
            ("--seed", seed.to_string()),
        ] {
            arguments.extend([flag.into(), value.into()]);
        }
        for slo in slos {
            arguments.extend(["--slo".into(), slo.into()]);
        }
        arguments.extend(["--json".into(), json.into()]);
        arguments
    }
}

fn point(rate: f64, report: &Report) -> Point {
    let failed = report.slos.iter().filter(|slo| !slo.ok);
    let mut why: Vec<String> = failed
        .map(|slo| format!("{} is {}", slo.slo, slo.shown))
        .collect();
    if let Pace::Lags { due, done } = curve::pace(&report.timeline, report.duration_s) {
        why.push(format!("of {due} in its second half {done} were done"));
    }
    if report.sender.is_bottleneck {
        why.push("the sender was the bottleneck".to_owned());
    }
    Point {
        rate,
        runs: 1,
        runs_held: usize::from(why.is_empty()),
        achieved_rps: report.achieved_rps,
        requests: report.requests,
        errors: report.errors,
        p50_ms: report.latency_ms.p50,
        p90_ms: report.latency_ms.p90,
        p95_ms: report.latency_ms.p95,
        p99_ms: report.latency_ms.p99,
        error_rate: report.error_rate,
        held: why.is_empty(),
        is_sender_bottleneck: report.sender.is_bottleneck,
        why,
    }
}

/// As it goes.
fn tell(point: &Point, is_confirming: bool) {
    let word = match (point.held, is_confirming) {
        (true, true) => "held again".to_owned(),
        (true, false) => "held".to_owned(),
        (false, _) => point.why.join(", "),
    };
    // Whoever closed the pipe has read enough.
    let _ = writeln!(
        std::io::stderr(),
        "{:.1}/s: p99 {:.1} ms: {word}",
        point.rate,
        point.p99_ms
    );
}
