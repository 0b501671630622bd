//! `weir-load run`: one test, its report, and its exit code.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rand::RngExt as _;
use tokio::runtime::Runtime;
use weir::clock;

use crate::attack::{self, Attack};
use crate::output::{self, write};
use crate::pacer::Pace;
use crate::progress::Progress;
use crate::report::{Asked, Report, Verdict, baseline, html, junit, terminal};
use crate::scenario::{self, Scenario, Source};
use crate::schedule::{self, Schedule, Spikes};
use crate::sidecar::{self, Reading, Seen};
use crate::slo::DIRECT;
use crate::stats::Tallies;
use crate::target::answers;

mod flags;

pub use flags::Run;

/// Every objective held.
pub const PASSED: u8 = 0;
/// One did not.
pub const FAILED: u8 = 1;
/// The test could not run, or not to its end.
pub const COULD_NOT_RUN: u8 = 2;
/// Senders for this long a stall: with all of them busy, what is due waits, and its waiting counts.
const STALL_S: f64 = 2.5;
const USERS: (usize, usize) = (16, 2000);
/// A seed that people can type.
const SEED_MAX: u64 = 1_000_000;

/// What is known before the first request.
struct Plan {
    scenario: Scenario,
    schedule: Schedule,
    seed: u64,
    users: usize,
    warnings: Vec<String>,
}

impl Run {
    /// Runs the test; the exit code.
    ///
    /// # Errors
    /// Why it could not run.
    pub fn execute(mut self) -> anyhow::Result<u8> {
        let outcome = self.check().and_then(|()| self.test());
        if let (Err(error), Some(path)) = (&outcome, &self.junit) {
            // Or a pipeline would show what an earlier run has left there. Where that cannot be written either, the
            // first error is the one to be known.
            let document = junit::could_not_run(&self.target.scenario, &format!("{error:#}"));
            drop(std::fs::write(path, document));
        }
        outcome
    }

    fn test(&self) -> anyhow::Result<u8> {
        let before = self.baseline.as_deref();
        let before = before.map(|path| read_baseline(path, &self.target.scenario));
        let before = before.transpose()?;
        output::prepare(&self.outputs())?;
        let client = attack::client(&self.target.connecting()?).context("--ca-file")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let plan = self.plan(&runtime)?;
        for address in std::iter::once(&self.target.target).chain(&self.direct) {
            answers(address)?;
        }
        let metrics_before = self.read_metrics(&runtime)?;
        let weir_version = metrics_before.as_ref().and_then(Reading::version);
        let tallies = Arc::new(Tallies::new(plan.schedule.duration()));
        let pace = Pace::new(plan.schedule, plan.users);
        interrupt_by_signal(&pace)?;
        let started_at = clock::unix_now();
        let attack = Attack {
            client,
            target: self.target.target.clone(),
            direct: self.direct.clone(),
            scenario: plan.scenario,
            users: plan.users,
            drain: self.drain(pace.schedule().duration()),
        };
        let progress = Progress::show(&pace, &tallies)?;
        let begun = clock::now();
        let processor_time = attack::run(attack, &pace, &tallies)?;
        let wall_time = clock::now().saturating_duration_since(begun);
        drop(progress);
        let mut warnings = plan.warnings;
        let sidecar = match metrics_before {
            None => None,
            Some(before) => match self.read_metrics_after(&runtime, &before, &tallies) {
                Ok(seen) => Some(seen),
                Err(error) => {
                    warnings.push(format!("weir's own figures are missing: {error:#}"));
                    None
                }
            },
        };
        let asked = Asked {
            scenario: &self.target.scenario,
            target: &self.target.target,
            rate: self.rate_text(),
            started_at,
            weir_version,
            seed: plan.seed,
            slos: &self.slo,
            users: plan.users,
            processor_time,
            wall_time,
            warnings,
            sidecar,
        };
        let mut report = Report::new(asked, &pace, &tallies);
        if let Some(before) = &before {
            report.compare(before, self.tolerance());
        }
        self.tell(&report)?;
        Ok(match report.verdict {
            _ if pace.is_interrupted() => COULD_NOT_RUN,
            Verdict::Pass => PASSED,
            Verdict::Fail => FAILED,
        })
    }

    /// Looks at everything that can be wrong before anything is sent.
    fn plan(&self, runtime: &Runtime) -> anyhow::Result<Plan> {
        let seed = self
            .seed
            .unwrap_or_else(|| rand::rng().random_range(1..SEED_MAX));
        let (scenario, schedule, mut warnings) = self.scenario(seed, runtime)?;
        self.check_names(&scenario)?;
        warnings.extend(scenario.over_the_limit(schedule.peak_rate() / self.factor()));
        for warning in &warnings {
            note(&format!("warning: {warning}"));
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
        let (doors, warnings) = self.target.doors()?;
        let source = match flags::is_index(events) {
            true => Source::Index {
                url: events.to_owned(),
                query: self.query(),
                api_key: self.events_api_key.clone(),
            },
            false => Source::File(events.into()),
        };
        let recording = runtime.block_on(scenario::recorded(&source, self.speed()))?;
        let scenario = Scenario::of_recording(recording.requests, doors, self.questions(seed));
        Ok((scenario, recording.schedule, warnings))
    }

    /// An objective of requests that this scenario never sends would be found to be one after the test.
    fn check_names(&self, scenario: &Scenario) -> anyhow::Result<()> {
        let Some(names) = scenario.names() else {
            return Ok(());
        };
        for slo in &self.slo {
            let Some(name) = slo.name() else { continue };
            let is_direct = name == DIRECT && self.direct.is_some();
            anyhow::ensure!(
                is_direct || names.iter().any(|known| **known == *name),
                "--slo {}: the scenario {} has no requests called {name}, only {}",
                slo.text,
                self.target.scenario,
                names.join(", ")
            );
        }
        Ok(())
    }

    /// As people read it.
    fn rate_text(&self) -> String {
        match (self.target.scenario.as_str(), self.spikes) {
            ("replay", _) => format!("as recorded, at {} times its speed", self.speed()),
            (_, None) => schedule::shown(&self.rates()),
            (_, Some(spikes)) => format!("{}, spikes {spikes}", schedule::shown(&self.rates())),
        }
    }

    fn factor(&self) -> f64 {
        if self.direct.is_some() { 2.0 } else { 1.0 }
    }

    /// With a second target, as many again are due.
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
        let schedule = schedule.map_err(|why| anyhow::anyhow!("--rate: {why}"))?;
        let schedule = schedule.with_warm_up(self.warm_up);
        anyhow::ensure!(
            self.warm_up.is_zero() || schedule.warm_up_count() > 0,
            "--warm-up: at the rate that the test begins with nothing would be sent in it"
        );
        Ok(schedule)
    }

    fn read_metrics(&self, runtime: &Runtime) -> anyhow::Result<Option<Reading>> {
        let Some(admin) = self.admin.as_deref() else {
            return Ok(None);
        };
        let reading = runtime.block_on(sidecar::read(admin, self.admin_token.as_deref()));
        reading
            .map(Some)
            .with_context(|| format!("--admin {admin}"))
    }

    fn read_metrics_after(
        &self,
        runtime: &Runtime,
        before: &Reading,
        tallies: &Tallies,
    ) -> anyhow::Result<Seen> {
        let tally = tallies.sum();
        let sent = tally.all().requests + tally.warm_up.requests;
        let admin = self.admin.as_deref().unwrap_or_default();
        let token = self.admin_token.as_deref();
        runtime.block_on(sidecar::read_after(admin, token, before, sent))
    }

    /// Prints and writes the report.
    fn tell(&self, report: &Report) -> anyhow::Result<()> {
        // Whoever closed the pipe has read enough.
        let _ = writeln!(std::io::stdout(), "{}", terminal::summary(report));
        write(&self.json, || Ok(serde_json::to_string_pretty(report)?))?;
        write(&self.report, || Ok(html::document(report)))?;
        write(&self.junit, || Ok(junit::document(report)))
    }
}

/// SIGINT and SIGTERM end the test, and what was measured is reported; a second one ends at once.
fn interrupt_by_signal(pace: &Arc<Pace>) -> anyhow::Result<()> {
    let pace = pace.clone();
    // goose sets one of its own, later: the first stays.
    ctrlc::set_handler(move || {
        if pace.is_interrupted() {
            std::process::exit(i32::from(COULD_NOT_RUN));
        }
        note("it ends when the answers under way have come; a second signal ends it at once");
        pace.interrupt();
    })?;
    Ok(())
}

/// Whoever closed the pipe has read enough, and a full disk ends no test.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "weir-load: {line}");
}

fn users(schedule: &Schedule) -> usize {
    let wanted = (schedule.peak_rate() * STALL_S).ceil() as usize;
    wanted.clamp(USERS.0, USERS.1)
}

fn read_baseline(path: &Path, scenario: &str) -> anyhow::Result<Report> {
    let told = || format!("--baseline {}", path.display());
    let text = std::fs::read_to_string(path).with_context(told)?;
    let report = serde_json::from_str(&text)
        .context("it is no --json of `weir-load run`")
        .with_context(told)?;
    baseline::check(&report, scenario).map_err(|why| anyhow::anyhow!("{}: {why}", told()))?;
    Ok(report)
}
