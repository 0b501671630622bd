//! `weir-load capacity`: finds the highest rate at which the thresholds pass, and how many replicas a rate needs.
//!
//! goose stops through a switch that is global to the process, so every run is a child process: `weir-load run`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use weir::{clock, units};

use crate::exit_code::{FAILED, PASSED};
use crate::output::{self, write};
use crate::report::capacity::{self, CapacityReport, LimitedBy, RatePoint, Replicas};
use crate::report::{Report, Verdict, Versions, timestamp};
use crate::schedule;
use crate::slo::Slo;
use crate::target::{TargetArgs, base_url, check_reachable, positive_duration};

mod curve;
mod runs;
pub mod search;

use curve::Throughput;
use runs::RunLauncher;

use search::{RunResult, Search, SearchOptions, Step};

/// The arguments of `weir-load capacity`.
#[derive(clap::Args)]
// The last occurrence of a flag wins, so that scripts can have defaults.
#[command(args_override_self = true)]
pub struct CapacityArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Threshold (SLO) that must pass at a rate, repeatable: 'p99<800ms', 'error_rate<0.5%', 'rps>=45',
    /// 'first_token_p95<1s', 'chat:p99<1s' (only requests named chat). Applied by default: error_rate<1%, unsent<1%
    #[arg(long, value_name = "THRESHOLD", value_parser = Slo::parse, required = true, help_heading = SEARCH)]
    slo: Vec<Slo>,
    /// Rate to start with
    #[arg(long, value_name = "RATE", default_value = "10/s", value_parser = one_rate, help_heading = SEARCH)]
    from: f64,
    /// Highest rate to try
    #[arg(long, value_name = "RATE", default_value = "5000/s", value_parser = one_rate, help_heading = SEARCH)]
    to: f64,
    /// Duration of each run, after its warm-up
    #[arg(short, long, value_name = "DURATION", default_value = "15s", value_parser = positive_duration, help_heading = SEARCH)]
    duration: Duration,
    /// Warm-up before each run; not measured
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = units::duration, help_heading = SEARCH)]
    warm_up: Duration,
    /// Stop when the result is this close to a rate that fails
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = units::ratio, help_heading = SEARCH)]
    precision: f64,
    /// How often the result must be confirmed
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

/// Why an argument is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ArgumentError {
    #[error(transparent)]
    Rate(#[from] schedule::RateError),
    #[error("expected a single rate such as 50/s, found {0:?}")]
    NotConstant(String),
    #[error("{0}")]
    Ratio(String),
    #[error("expected at most 90%")]
    Headroom,
}

fn one_rate(text: &str) -> Result<f64, ArgumentError> {
    match schedule::rates(text)?.as_slice() {
        [(from, to)] if from == to && *from > 0.0 => Ok(*from),
        _ => Err(ArgumentError::NotConstant(text.to_owned())),
    }
}

fn headroom(text: &str) -> Result<f64, ArgumentError> {
    let share = units::ratio(text).map_err(|error| ArgumentError::Ratio(error.to_string()))?;
    match share <= 0.9 {
        true => Ok(share),
        false => Err(ArgumentError::Headroom),
    }
}

impl CapacityArgs {
    /// Runs the search and returns the exit code.
    ///
    /// # Errors
    /// Why the search could not run.
    pub fn execute(mut self) -> anyhow::Result<u8> {
        self.check()?;
        let runs = RunLauncher::new()?;
        let started_at = clock::unix_now();
        let implied = Slo::implied(&self.slo);
        let slos: Vec<String> = self
            .slo
            .iter()
            .chain(&implied)
            .map(|slo| slo.text.clone())
            .collect();
        let mut search = Search::new(SearchOptions {
            from: self.from,
            to: self.to,
            precision: self.precision,
            confirmations: self.confirmations,
        });
        let mut curve: Vec<RatePoint> = Vec::new();
        let outcome = loop {
            let rate = match search.next() {
                Step::Done(capacity_rps) => break Ok(capacity_rps),
                Step::Try(rate) => rate,
            };
            let point = match self.try_rate(rate, &slos, &runs) {
                Ok(point) => point,
                Err(error) => break Err(error),
            };
            log_point(&point, search.is_confirming());
            search.observe(match point.passed {
                true => RunResult::Passed,
                false => RunResult::Failed,
            });
            curve.push(point);
        };
        // An interrupted search reports its curve, but no capacity.
        let (report, error) = match outcome {
            Ok(capacity_rps) => (self.report(capacity_rps, slos, &curve, started_at), None),
            Err(error) => (self.report(None, slos, &curve, started_at), Some(error)),
        };
        // A closed pipe is not an error.
        let _ = writeln!(
            std::io::stdout(),
            "{}",
            capacity::terminal::summary(&report)
        );
        write(&self.json, || Ok(serde_json::to_string_pretty(&report)?))?;
        write(&self.report, || Ok(capacity::html::document(&report)))?;
        match (error, report.verdict) {
            (Some(error), _) => Err(error),
            (None, Verdict::Pass) => Ok(PASSED),
            (None, Verdict::Fail) => Ok(FAILED),
        }
    }

    /// Checks the arguments, so that invalid ones are found before the first run.
    fn check(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.target.scenario != "replay",
            "--scenario replay cannot be used: a recording has its own rate"
        );
        anyhow::ensure!(
            self.from <= self.to,
            "--from {}/s is more than --to {}/s",
            self.from,
            self.to
        );
        if let Some(slo) = self.slo.iter().find(|slo| slo.needs_direct()) {
            anyhow::bail!(
                "--slo {}: the added latency is only measured by weir-load run",
                slo.text
            );
        }
        self.target.target = base_url("--target", &self.target.target)?;
        self.target.check(None)?;
        output::prepare(&[
            ("--report", self.report.as_ref()),
            ("--json", self.json.as_ref()),
        ])?;
        self.target.client_options()?;
        self.target.scenario(0)?;
        check_reachable(&self.target.target)
    }

    fn report(
        &self,
        capacity_rps: Option<f64>,
        slos: Vec<String>,
        runs: &[RatePoint],
        started_at: Duration,
    ) -> CapacityReport {
        let curve = curve::merged(runs, capacity_rps);
        let limited_by = curve::limited_by(&curve, capacity_rps);
        let is_lower_bound = limited_by != LimitedBy::Thresholds;
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
        CapacityReport {
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

    fn try_rate(
        &self,
        rate: f64,
        slos: &[String],
        runs: &RunLauncher,
    ) -> anyhow::Result<RatePoint> {
        let report = runs.run(|json| self.run_arguments(rate, slos, json));
        let report = report.with_context(|| format!("the run at {rate}/s"))?;
        Ok(point(rate, &report))
    }

    fn run_arguments(&self, rate: f64, slos: &[String], json: &Path) -> Vec<OsString> {
        let mut arguments = self.target.to_arguments();
        // Per hour, since a rate is an integer number of requests.
        let hourly = format!("{:.0}/h", rate * 3600.0);
        // A new seed for each run, so that no prompts of the run before are cached.
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

fn point(rate: f64, report: &Report) -> RatePoint {
    let failed = report.slos.iter().filter(|slo| !slo.ok);
    let mut reasons: Vec<String> = failed
        .map(|slo| format!("{} is {}", slo.slo, slo.shown))
        .collect();
    if let Throughput::FallsBehind { due, done } =
        curve::throughput(&report.timeline, report.duration_s)
    {
        reasons.push(format!(
            "only {done} of {due} requests were done in its second half"
        ));
    }
    if report.sender.is_bottleneck {
        reasons.push("the load generator was the bottleneck".to_owned());
    }
    RatePoint {
        rate,
        runs: 1,
        runs_passed: usize::from(reasons.is_empty()),
        achieved_rps: report.achieved_rps,
        requests: report.requests,
        errors: report.errors,
        p50_ms: report.latency_ms.p50,
        p90_ms: report.latency_ms.p90,
        p95_ms: report.latency_ms.p95,
        p99_ms: report.latency_ms.p99,
        error_rate: report.error_rate,
        passed: reasons.is_empty(),
        is_sender_bottleneck: report.sender.is_bottleneck,
        reasons,
    }
}

/// Reports the progress of the search.
fn log_point(point: &RatePoint, is_confirming: bool) {
    let word = match (point.passed, is_confirming) {
        (true, true) => "confirmed".to_owned(),
        (true, false) => "passed".to_owned(),
        (false, _) => point.reasons.join(", "),
    };
    // A closed pipe is not an error.
    let _ = writeln!(
        std::io::stderr(),
        "{:.1}/s: p99 {:.1} ms: {word}",
        point.rate,
        point.p99_ms
    );
}
