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
use weir::config::units;

use crate::door;
use crate::report::{Report, Verdict, capacity};
use crate::run::{FAILED, PASSED, write};
use crate::schedule;
use crate::slo::Slo;
use crate::target::{Target, answers, base};

mod runs;
pub mod search;

use runs::Runs;

use search::{Bounds, Next, Outcome, Search};

/// In the second half of a run as much has to be done as comes due, or answers only pile up, whatever the
/// objectives say. What a steady latency shifts out of one half it shifts into the other, so that a slow
/// assistant keeps up as well as a fast one. Less than this share, and by more than a few, is too little.
const KEEPS_UP_MIN: f64 = 0.95;
const FEW: u64 = 3;

/// The arguments.
#[derive(clap::Args)]
// Of a flag that is given twice the last one counts, so that scripts can have defaults.
#[command(args_override_self = true)]
pub struct Capacity {
    #[command(flatten)]
    target: Target,
    /// What has to hold: p99<800ms, error_rate<0.5%; several. Where none is of errors, error_rate<1% has to
    /// hold, and unsent<1% where none is of what was not sent.
    #[arg(long, value_parser = Slo::parse, required = true)]
    slo: Vec<Slo>,
    /// The rate to begin with.
    #[arg(long, default_value = "10/s", value_parser = one_rate)]
    from: f64,
    /// The highest rate that is tried.
    #[arg(long, default_value = "5000/s", value_parser = one_rate)]
    to: f64,
    /// Of each run, after its warm-up.
    #[arg(long, default_value = "15s", value_parser = units::duration)]
    duration: Duration,
    #[arg(long, default_value = "2s", value_parser = units::duration)]
    warm_up: Duration,
    /// How close the result is to a rate that fails.
    #[arg(long, default_value = "5%", value_parser = units::ratio)]
    precision: f64,
    /// How often the result has to hold again.
    #[arg(long, default_value_t = 2)]
    confirmations: usize,
    /// Says how many replicas this rate wants; several.
    #[arg(long, value_name = "RATE", value_parser = one_rate)]
    replicas_for: Vec<f64>,
    /// What of a replica's capacity is kept free, at most 90%.
    #[arg(long, default_value = "20%", value_parser = headroom)]
    headroom: f64,
    /// Everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The curve as one file of HTML.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// What was found; `--json` writes it.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    pub verdict: Verdict,
    pub scenario: String,
    pub target: String,
    pub slos: Vec<String>,
    /// Requests a second; `None`: the objectives hold at no rate that was tried.
    pub capacity_rps: Option<f64>,
    pub limited_by: LimitedBy,
    /// Every run, by its rate.
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

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    pub rate: f64,
    pub achieved_rps: f64,
    pub requests: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub error_rate: f64,
    pub held: bool,
    pub is_sender_bottleneck: bool,
    /// Which objectives did not hold.
    pub why: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Replicas {
    pub rate: f64,
    pub count: u64,
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
        if let Some(path) = &self.target.config {
            // Every mistake at once, and not as the last words of a run.
            door::of_file(path)?;
        }
        answers(&self.target.target)?;
        let runs = Runs::new()?;
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
        curve.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        // What was found until it broke off is told, and is no capacity.
        let (found, broken) = match outcome {
            Ok(found) => (self.found(found, slos, curve), None),
            Err(error) => (self.found(None, slos, curve), Some(error)),
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

    fn found(&self, capacity_rps: Option<f64>, slos: Vec<String>, curve: Vec<Point>) -> Found {
        let above = |point: &&Point| capacity_rps.is_none_or(|rate| point.rate > rate);
        let mut failed = curve.iter().filter(above).filter(|point| !point.held);
        let limited_by = match failed.next() {
            None => LimitedBy::Ceiling,
            Some(first) if first.is_sender_bottleneck => LimitedBy::Sender,
            Some(_) => LimitedBy::Objectives,
        };
        let usable = capacity_rps.map(|rate| rate * (1.0 - self.headroom));
        let replicas = usable.map_or_else(Vec::new, |usable| {
            let rates = self.replicas_for.iter();
            rates
                .map(|rate| Replicas {
                    rate: *rate,
                    count: (rate / usable).ceil() as u64,
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
            slos,
            capacity_rps,
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
    let (due, done) = second_half(report);
    if (done as f64) < due as f64 * KEEPS_UP_MIN && done + FEW < due {
        why.push(format!("of {due} in its second half {done} were done"));
    }
    if report.sender.is_bottleneck {
        why.push("the sender was the bottleneck".to_owned());
    }
    Point {
        rate,
        achieved_rps: report.achieved_rps,
        requests: report.requests,
        p50_ms: report.latency_ms.p50,
        p99_ms: report.latency_ms.p99,
        error_rate: report.error_rate,
        held: why.is_empty(),
        is_sender_bottleneck: report.sender.is_bottleneck,
        why,
    }
}

/// Requests that came due in the second half of a run, and those that were done in it.
fn second_half(report: &Report) -> (u64, u64) {
    let half = report.duration_s / 2.0..report.duration_s;
    let parts = report.timeline.iter();
    let parts = parts.filter(|part| half.contains(&part.at_s));
    parts.fold((0, 0), |(due, done), part| {
        (due + part.due, done + part.done)
    })
}

/// As it goes.
#[expect(clippy::print_stderr, reason = "a command line talks")]
fn tell(point: &Point, is_confirming: bool) {
    let word = match (point.held, is_confirming) {
        (true, true) => "held again".to_owned(),
        (true, false) => "held".to_owned(),
        (false, _) => point.why.join(", "),
    };
    eprintln!("{:.1}/s: P99 {:.1} ms: {word}", point.rate, point.p99_ms);
}
