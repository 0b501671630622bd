//! `weir-load run`: one test, its report, and its exit code.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use tokio::runtime::Runtime;
use weir::{clock, config::units};

use crate::attack::{self, Attack};
use crate::door::{self, Door};
use crate::pacer::Pace;
use crate::progress::Progress;
use crate::report::{Asked, Report, Verdict, baseline, html, junit, terminal};
use crate::scenario::{self, Questions, Scenario, Source};
use crate::schedule::{self, Schedule, Spikes};
use crate::sidecar::{self, Reading, Seen};
use crate::slo::Slo;
use crate::tally::Tallies;
use crate::target::{Target, answers, base};

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

/// The arguments.
#[derive(clap::Args)]
// Of a flag that is given twice the last one counts, so that scripts can have defaults.
#[command(args_override_self = true)]
pub struct Run {
    #[command(flatten)]
    target: Target,
    /// 50/s, a ramp 10/s..100/s, or steps 50/s,100/s,200/s of equal length.
    #[arg(long, default_value = "50/s", value_parser = schedule::rates)]
    rate: std::vec::Vec<(f64, f64)>,
    /// On top of it, such as 400/s:2s/30s: this rate, for 2 s, every 30 s.
    #[arg(long, value_parser = schedule::spikes)]
    spikes: Option<Spikes>,
    #[arg(long, default_value = "60s", value_parser = units::duration)]
    duration: Duration,
    /// Before the test, at the rate that it begins with: sent, and in no figure.
    #[arg(long, default_value = "0s", value_parser = units::duration)]
    warm_up: Duration,
    /// p99<800ms, error_rate<0.5%, first_token_p95<1s, rps>=45, added_p99<5ms, chat:p99<1s; several. Where
    /// none is of errors, error_rate<1% has to hold, and unsent<1% where none is of what was not sent.
    #[arg(long, value_parser = Slo::parse)]
    slo: Vec<Slo>,
    /// The backend without the sidecar: every second request of a doubled rate goes there.
    #[arg(long)]
    direct: Option<String>,
    /// The sidecar's admin address, for its own figures beside these.
    #[arg(long)]
    admin: Option<String>,
    /// The token of the admin address.
    #[arg(long, env = "WEIR_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,
    /// The report as one file of HTML.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The objectives as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The --json of an earlier run: what got worse fails the test.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// How much worse than the baseline is none.
    #[arg(long, default_value = "10%", value_parser = units::ratio)]
    tolerance: f64,
    /// Of `replay`: weir's event file, or a data stream such as
    /// http://127.0.0.1:9200/logs-weir.access-default. Its times and sizes are asked again; --rate does
    /// not count.
    #[arg(long, value_name = "FILE|URL")]
    events: Option<String>,
    /// Of `replay` from a data stream: which events, such as 'route:chat AND @timestamp:[now-1h TO now]'.
    #[arg(long, default_value = "*")]
    query: String,
    /// An API key of the data stream; a name and password stand in its address.
    #[arg(long, env = "WEIR_EVENTS_API_KEY", hide_env_values = true)]
    events_api_key: Option<String>,
    /// Of `replay`: 2 asks everything in half of its time.
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Asks the same questions as a run with the same seed; the report says which it was.
    #[arg(long)]
    seed: Option<u64>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok();
    let speed = speed.filter(|speed| (0.001..=1000.0).contains(speed));
    speed.ok_or_else(|| format!("expected a number from 0.001 to 1000, found {text:?}"))
}

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
        let outcome = self.check_addresses().and_then(|()| self.test());
        if let (Err(error), Some(path)) = (&outcome, &self.junit) {
            // Or a pipeline would show what an earlier run has left there.
            let document = junit::could_not_run(&self.target.scenario, &format!("{error:#}"));
            std::fs::write(path, document)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        outcome
    }

    fn check_addresses(&mut self) -> anyhow::Result<()> {
        let target = &mut self.target.target;
        *target = base("--target", target)?;
        for (flag, address) in [("--direct", &mut self.direct), ("--admin", &mut self.admin)] {
            if let Some(address) = address {
                *address = base(flag, address)?;
            }
        }
        Ok(())
    }

    fn test(&self) -> anyhow::Result<u8> {
        let before = self.baseline.as_deref();
        let before = before.map(|path| read_baseline(path, &self.target.scenario));
        let before = before.transpose()?;
        self.remove_old_reports()?;
        let client = attack::client(&self.target.connecting()?).context("--ca-file")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let plan = self.plan(&runtime)?;
        for address in std::iter::once(&self.target.target).chain(&self.direct) {
            answers(address)?;
        }
        let metrics_before = self.read_metrics(&runtime)?;
        let tallies = Arc::new(Tallies::new(plan.schedule.duration()));
        let pace = Pace::new(plan.schedule, plan.users);
        interrupt_by_signal(&pace)?;
        let attack = Attack {
            client,
            target: self.target.target.clone(),
            direct: self.direct.clone(),
            scenario: plan.scenario,
            users: plan.users,
            grace: self.target.timeout,
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
            report.compare(before, self.tolerance);
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
        if let Some(slo) = self.slo.iter().find(|slo| slo.needs_direct())
            && self.direct.is_none()
        {
            anyhow::bail!(
                "--slo {}: what is added is known only with --direct",
                slo.text
            );
        }
        let (doors, warnings) = match &self.target.config {
            Some(path) => door::of_file(path)?,
            None => (door::open(), Vec::new()),
        };
        let seed = self
            .seed
            .unwrap_or_else(|| rand::rng().random_range(1..SEED_MAX));
        let questions = Questions {
            repeats: self.target.repeats,
            bytes: self.target.question_bytes,
            seed,
        };
        let (scenario, schedule) = self.scenario(doors, questions, runtime)?;
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
        doors: Vec<Door>,
        questions: Questions,
        runtime: &Runtime,
    ) -> anyhow::Result<(Scenario, Schedule)> {
        let name = &self.target.scenario;
        if name == "replay" {
            anyhow::ensure!(
                self.direct.is_none(),
                "--direct: a recording is asked of the target alone"
            );
            anyhow::ensure!(
                self.warm_up.is_zero() && self.spikes.is_none(),
                "--warm-up and --spikes: a recording has its own times"
            );
            let events = self.events.as_deref();
            let events = events.context(
                "the scenario replay needs --events: weir's event file, or the address of a data stream",
            )?;
            let source = match events.starts_with("http://") || events.starts_with("https://") {
                true => Source::Index {
                    url: events.to_owned(),
                    query: self.query.clone(),
                    api_key: self.events_api_key.clone(),
                },
                false => Source::File(events.into()),
            };
            let recording = runtime.block_on(scenario::recorded(&source, self.speed))?;
            let scenario = Scenario::of_recording(recording.requests, doors, questions);
            return Ok((scenario, recording.schedule));
        }
        anyhow::ensure!(
            self.events.is_none(),
            "--events is for --scenario replay, and this one is {name}"
        );
        let made = match name.ends_with(".yaml") || name.ends_with(".yml") {
            true => scenario::read(Path::new(name), &doors)
                .map(|requests| Scenario::of_file(requests, doors, questions)),
            false => Scenario::built_in(name, doors, questions),
        };
        let made = made.map_err(|why| anyhow::anyhow!("{why}"))?;
        Ok((made, self.schedule()?))
    }

    /// With a second target, as many again are due.
    fn schedule(&self) -> anyhow::Result<Schedule> {
        let factor = if self.direct.is_some() { 2.0 } else { 1.0 };
        let rates = self.rate.iter();
        let rates: Vec<_> = rates
            .map(|(from, to)| (from * factor, to * factor))
            .collect();
        let spikes = self.spikes.map(|spikes| Spikes {
            rate: spikes.rate * factor,
            ..spikes
        });
        let schedule = Schedule::new(&rates, self.duration, spikes);
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

    /// What an earlier run wrote is not this one's, should this one not come to its end.
    fn remove_old_reports(&self) -> anyhow::Result<()> {
        for path in [&self.json, &self.report, &self.junit]
            .into_iter()
            .flatten()
        {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot write {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
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

pub(crate) fn write(
    path: &Option<PathBuf>,
    text: impl Fn() -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    std::fs::write(path, text()?).with_context(|| format!("cannot write {}", path.display()))
}

/// SIGINT and SIGTERM end the test, and what was measured is told; a second one ends at once.
#[expect(clippy::print_stderr, reason = "a command line talks")]
fn interrupt_by_signal(pace: &Arc<Pace>) -> anyhow::Result<()> {
    let pace = pace.clone();
    // goose sets one of its own, later: the first stays.
    ctrlc::set_handler(move || {
        if pace.is_interrupted() {
            std::process::exit(i32::from(COULD_NOT_RUN));
        }
        eprintln!("it ends when the answers under way have come; a second signal ends it at once");
        pace.interrupt();
    })?;
    Ok(())
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
