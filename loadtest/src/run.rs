//! `weir-load run`: runs one test, writes its reports, and determines the exit code.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rand::RngExt as _;
use tokio::runtime::Runtime;
use weir::clock;

use crate::attack::{self, Attack};
use crate::exit_code::{COULD_NOT_RUN, FAILED, PASSED};
use crate::output::{self, write};
use crate::pacer::Pacer;
use crate::progress::Progress;
use crate::report::{Report, TestInfo, Verdict, baseline, html, junit, terminal};
use crate::scenario::{self, EventSource, Scenario};
use crate::schedule::{self, Schedule, Spikes};
use crate::sidecar::{self, MetricsSnapshot, SidecarMetrics};
use crate::slo::DIRECT;
use crate::stats::StatsRecorder;
use crate::target::check_reachable;

mod flags;

pub use flags::RunArgs;

/// The default number of users covers a stall of this length. When all users are busy, requests that come due wait, and
/// the waiting time is part of their latency.
const STALL_S: f64 = 2.5;
const USERS: (usize, usize) = (16, 2000);
/// Random seeds are short enough to type.
const SEED_MAX: u64 = 1_000_000;

/// Everything that is determined before the first request.
struct Plan {
    scenario: Scenario,
    schedule: Schedule,
    seed: u64,
    users: usize,
    warnings: Vec<String>,
}

impl RunArgs {
    /// Runs the test and returns the exit code.
    ///
    /// # Errors
    /// Why the test could not run.
    pub fn execute(mut self) -> anyhow::Result<u8> {
        let outcome = self.check().and_then(|()| self.test());
        if let (Err(error), Some(path)) = (&outcome, &self.junit) {
            // Otherwise CI would show the report of an earlier run. If this cannot be written either, the first error is
            // the one to report.
            let document = junit::could_not_run(&self.target.scenario, &format!("{error:#}"));
            drop(std::fs::write(path, document));
        }
        outcome
    }

    fn test(&self) -> anyhow::Result<u8> {
        let baseline = self.baseline.as_deref();
        let baseline = baseline.map(|path| read_baseline(path, &self.target.scenario));
        let baseline = baseline.transpose()?;
        output::prepare(&self.outputs())?;
        let client = attack::build_client(&self.target.client_options()?).context("--ca-file")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let plan = self.plan(&runtime)?;
        for address in std::iter::once(&self.target.target).chain(&self.direct) {
            check_reachable(address)?;
        }
        let metrics_before = self.read_metrics(&runtime)?;
        let weir_version = metrics_before.as_ref().and_then(MetricsSnapshot::version);
        let recorder = Arc::new(StatsRecorder::new(plan.schedule.duration()));
        let pacer = Pacer::new(plan.schedule, plan.users);
        interrupt_by_signal(&pacer)?;
        let started_at = clock::unix_now();
        let attack = Attack {
            client,
            target: self.target.target.clone(),
            direct: self.direct.clone(),
            scenario: plan.scenario,
            users: plan.users,
            drain: self.drain(pacer.schedule().duration()),
        };
        let progress = Progress::show(&pacer, &recorder)?;
        let started = clock::now();
        let cpu_time = attack::run(attack, &pacer, &recorder)?;
        let wall_time = clock::now().saturating_duration_since(started);
        drop(progress);
        let mut warnings = plan.warnings;
        let sidecar = match metrics_before {
            None => None,
            Some(before) => match self.read_metrics_after(&runtime, &before, &recorder) {
                Ok(seen) => Some(seen),
                Err(error) => {
                    warnings.push(format!("weir's own metrics are missing: {error:#}"));
                    None
                }
            },
        };
        let info = TestInfo {
            scenario: &self.target.scenario,
            target: &self.target.target,
            rate: self.rate_text(),
            started_at,
            weir_version,
            seed: plan.seed,
            slos: &self.slo,
            users: plan.users,
            cpu_time,
            wall_time,
            warnings,
            sidecar,
        };
        let mut report = Report::new(info, &pacer, &recorder);
        if let Some(baseline) = &baseline {
            report.compare(baseline, self.tolerance());
        }
        self.write_reports(&report)?;
        Ok(match report.verdict {
            _ if pacer.is_interrupted() => COULD_NOT_RUN,
            Verdict::Pass => PASSED,
            Verdict::Fail => FAILED,
        })
    }

    /// Builds the scenario and the schedule, so that errors in them are found before the first request.
    fn plan(&self, runtime: &Runtime) -> anyhow::Result<Plan> {
        let seed = self
            .seed
            .unwrap_or_else(|| rand::rng().random_range(1..SEED_MAX));
        let (scenario, schedule, mut warnings) = self.scenario(seed, runtime)?;
        self.check_names(&scenario)?;
        warnings.extend(scenario.rate_limit_warning(schedule.peak_rate() / self.factor()));
        for warning in &warnings {
            log_line(&format!("warning: {warning}"));
        }
        let users = match self.target.users {
            Some(users) => users as usize,
            None => users(&schedule),
        };
        Ok(Plan {
            scenario,
            schedule,
            seed,
            users,
            warnings,
        })
    }

    fn scenario(
        &self,
        seed: u64,
        runtime: &Runtime,
    ) -> anyhow::Result<(Scenario, Schedule, Vec<String>)> {
        let Some(events) = self.events.as_deref() else {
            let (scenario, warnings) = self.target.scenario(seed)?;
            return Ok((scenario, self.schedule()?, warnings));
        };
        let (routes, warnings) = self.target.routes()?;
        let source = match flags::is_index(events) {
            true => EventSource::Index {
                url: events.to_owned(),
                query: self.query(),
                api_key: self.events_api_key.clone(),
            },
            false => EventSource::File(events.into()),
        };
        let recording = runtime.block_on(scenario::load_recording(&source, self.speed()))?;
        let scenario = Scenario::from_recording(recording.requests, routes, self.prompts(seed));
        Ok((scenario, recording.schedule, warnings))
    }

    /// Rejects thresholds for names that the scenario never sends, which would only fail after the test.
    fn check_names(&self, scenario: &Scenario) -> anyhow::Result<()> {
        let Some(names) = scenario.names() else {
            return Ok(());
        };
        for slo in &self.slo {
            let Some(name) = slo.name() else { continue };
            let is_direct = name == DIRECT && self.direct.is_some();
            anyhow::ensure!(
                is_direct || names.iter().any(|known| **known == *name),
                "--slo {}: the scenario {} has no requests named {name}, only {}",
                slo.text,
                self.target.scenario,
                names.join(", ")
            );
        }
        Ok(())
    }

    /// The arrival rate as shown in reports.
    fn rate_text(&self) -> String {
        match (self.target.scenario.as_str(), self.spikes) {
            ("replay", _) => format!("as recorded, at {}x speed", self.speed()),
            (_, None) => schedule::shown(&self.rates()),
            (_, Some(spikes)) => format!("{}, spikes {spikes}", schedule::shown(&self.rates())),
        }
    }

    fn factor(&self) -> f64 {
        if self.direct.is_some() { 2.0 } else { 1.0 }
    }

    /// With `--direct`, twice as many requests are due.
    fn schedule(&self) -> anyhow::Result<Schedule> {
        let factor = self.factor();
        let rates = self.rates().into_iter();
        let rates: Vec<_> = rates
            .map(|(from, to)| (from * factor, to * factor))
            .collect();
        let spikes = self.spikes.map(|spikes| Spikes {
            rate: spikes.rate * factor,
            ..spikes
        });
        let schedule = Schedule::new(&rates, self.duration(), spikes);
        let schedule = schedule.context("--rate")?.with_warm_up(self.warm_up);
        anyhow::ensure!(
            self.warm_up.is_zero() || schedule.warm_up_count() > 0,
            "--warm-up: no request is due at the initial rate of the test"
        );
        Ok(schedule)
    }

    fn read_metrics(&self, runtime: &Runtime) -> anyhow::Result<Option<MetricsSnapshot>> {
        let Some(admin) = self.admin.as_deref() else {
            return Ok(None);
        };
        let reading = runtime.block_on(sidecar::fetch(admin, self.admin_token.as_deref()));
        reading
            .map(Some)
            .with_context(|| format!("--admin {admin}"))
    }

    fn read_metrics_after(
        &self,
        runtime: &Runtime,
        before: &MetricsSnapshot,
        recorder: &StatsRecorder,
    ) -> anyhow::Result<SidecarMetrics> {
        let stats = recorder.snapshot();
        let sent = stats.all().requests + stats.warm_up.requests;
        let admin = self.admin.as_deref().unwrap_or_default();
        let token = self.admin_token.as_deref();
        runtime.block_on(sidecar::fetch_delta(admin, token, before, sent))
    }

    /// Prints the summary and writes the reports.
    fn write_reports(&self, report: &Report) -> anyhow::Result<()> {
        // A closed pipe is not an error.
        let _ = writeln!(std::io::stdout(), "{}", terminal::summary(report));
        write(&self.json, || Ok(serde_json::to_string_pretty(report)?))?;
        write(&self.report, || Ok(html::document(report)))?;
        write(&self.junit, || Ok(junit::document(report)))
    }
}

/// SIGINT and SIGTERM end the test and report what was measured; a second signal exits at once.
fn interrupt_by_signal(pacer: &Arc<Pacer>) -> anyhow::Result<()> {
    let pacer = pacer.clone();
    // goose installs its own handler later, but the first one wins.
    ctrlc::set_handler(move || {
        if pacer.is_interrupted() {
            std::process::exit(i32::from(COULD_NOT_RUN));
        }
        log_line("waiting for responses in flight; a second signal exits at once");
        pacer.interrupt();
    })?;
    Ok(())
}

/// A message that cannot be written is not an error.
fn log_line(line: &str) {
    let _ = writeln!(std::io::stderr(), "weir-load: {line}");
}

fn users(schedule: &Schedule) -> usize {
    let needed = (schedule.peak_rate() * STALL_S).ceil() as usize;
    needed.clamp(USERS.0, USERS.1)
}

fn read_baseline(path: &Path, scenario: &str) -> anyhow::Result<Report> {
    let flag = || format!("--baseline {}", path.display());
    let text = std::fs::read_to_string(path).with_context(flag)?;
    let report = serde_json::from_str(&text)
        .context("not a --json report of `weir-load run`")
        .with_context(flag)?;
    baseline::check(&report, scenario).with_context(flag)?;
    Ok(report)
}
