//! The command line of the load tester.

#![expect(clippy::print_stderr, reason = "a command line talks")]

use std::io::Write as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use weir::config::units;

use weir_load::attack::Attack;
use weir_load::door::Door;
use weir_load::pacer::Pace;
use weir_load::report::{Asked, Report, Verdict, baseline, html, junit, terminal};
use weir_load::scenario::{Questions, Scenario};
use weir_load::schedule::Schedule;
use weir_load::slo::Slo;
use weir_load::tally::Tallies;
use weir_load::{attack, door, scenario, schedule, sidecar, slo};

/// Every objective held.
const PASSED: u8 = 0;
/// One did not.
const FAILED: u8 = 1;
/// The test could not run.
const COULD_NOT_RUN: u8 = 2;
/// Whoever does not take a connection within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Senders for this long a stall: with all of them busy, what is due waits, and its waiting counts.
const STALL_S: f64 = 2.5;
const USERS: (usize, usize) = (16, 2000);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

#[derive(Parser)]
#[command(
    name = "weir-load",
    version,
    about = "A load test that tells the truth, and a gate for CI"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Send what is due, and say whether the objectives held: exit code 0, 1, or 2 when it could not run.
    Run(Box<Run>),
}

#[derive(clap::Args)]
struct Run {
    /// Where the sidecar is: http://127.0.0.1:8080.
    #[arg(long)]
    target: String,
    /// The target's weir.yaml: its routes, schemes and secrets. Left out: the chat, unsigned.
    #[arg(long)]
    config: Option<PathBuf>,
    /// chat, stream, platforms, abuse, burst, mixed, replay, or a file that ends with .yaml.
    #[arg(long, default_value = "chat")]
    scenario: String,
    /// Of `replay`: weir's event file. Its times and sizes are asked again; --rate does not count.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// 50/s, a ramp 10/s..100/s, or steps 50/s,100/s,200/s of equal length.
    #[arg(long, default_value = "50/s", value_parser = schedule::rates)]
    rate: std::vec::Vec<(f64, f64)>,
    /// On top of it, such as 400/s:2s/30s: this rate, for 2 s, every 30 s.
    #[arg(long, value_parser = schedule::spikes)]
    spikes: Option<schedule::Spikes>,
    #[arg(long, default_value = "60s", value_parser = units::duration)]
    duration: Duration,
    /// p99<800ms, error_rate<0.5%, first_token_p95<1s, rps>=45, added_p99<5ms, chat:p99<1s; several.
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
    /// Requests that are under way at once at most; by the rate when left out.
    #[arg(long)]
    users: Option<usize>,
    /// Of one request.
    #[arg(long, default_value = "30s", value_parser = units::duration)]
    timeout: Duration,
    /// The share of questions that are asked again and again.
    #[arg(long, default_value = "30%", value_parser = units::ratio)]
    repeats: f64,
    /// Of a question.
    #[arg(long, default_value_t = 500)]
    question_bytes: usize,
    /// The same seed asks the same questions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    // goose logs and prints by itself; what is to be known is said here.
    let Command::Run(run) = Arguments::parse().command;
    let code = run_test(&run).unwrap_or_else(|error| {
        eprintln!("weir-load: it could not run: {error:#}");
        COULD_NOT_RUN
    });
    ExitCode::from(code)
}

fn run_test(run: &Run) -> anyhow::Result<u8> {
    let target = base(&run.target).context("--target")?;
    let direct = run.direct.as_deref().map(base).transpose();
    let direct = direct.context("--direct")?;
    if let Some(slo) = run
        .slo
        .iter()
        .find(|slo| slo.needs_direct() && direct.is_none())
    {
        anyhow::bail!(
            "--slo {}: what is added is known only with --direct",
            slo.text
        );
    }
    let before = run.baseline.as_deref().map(read_report).transpose()?;
    let (doors, mut warnings) = match &run.config {
        Some(path) => door::of_file(path)?,
        None => (door::open(), Vec::new()),
    };
    let (scenario, recorded) = scenario(run, doors)?;
    for address in std::iter::once(&target).chain(&direct) {
        answers(address)?;
    }
    let schedule = match recorded {
        Some(recorded) => recorded,
        None => schedule(run, direct.is_some())?,
    };
    let users = run.users.unwrap_or_else(|| users(&schedule));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let metrics = || {
        let admin = run.admin.as_deref()?;
        let reading = runtime.block_on(sidecar::read(admin, run.admin_token.as_deref()));
        Some(reading.with_context(|| format!("--admin {admin}")))
    };
    let metrics_before = metrics().transpose()?;
    let tallies = Arc::new(Tallies::new(schedule.duration()));
    let pace = Pace::new(schedule);
    let attack = Attack {
        target: target.clone(),
        direct,
        scenario,
        users,
        timeout: run.timeout,
        grace: run.timeout,
    };
    let progress = show_progress(&pace, &tallies)?;
    attack::run(attack, &pace, &tallies)?;
    progress.stop();
    let metrics_after = metrics().transpose();
    let sidecar = match (metrics_before, metrics_after) {
        (Some(before), Ok(Some(after))) => Some(after.since(&before)),
        (Some(_), Err(error)) => {
            warnings.push(format!("weir's own figures are missing: {error:#}"));
            None
        }
        _ => None,
    };
    let asked = Asked {
        scenario: &run.scenario,
        target: &target,
        slos: &run.slo,
        warnings,
        sidecar,
    };
    let report = Report::new(asked, &pace, &tallies);
    tell(run, &report, before.as_ref())
}

/// Prints and writes the report; the exit code.
fn tell(run: &Run, report: &Report, before: Option<&Report>) -> anyhow::Result<u8> {
    let mut code = match report.verdict {
        Verdict::Pass => PASSED,
        Verdict::Fail => FAILED,
    };
    let mut summary = terminal::summary(report);
    for worse in before.map_or_else(Vec::new, |before| {
        baseline::worse(before, report, run.tolerance)
    }) {
        summary.push_str(&format!(
            "\nworse than the baseline: {} was {:.3} and is {:.3}",
            worse.figure, worse.before, worse.now
        ));
        code = FAILED;
    }
    // Whoever closed the pipe has read enough.
    let _ = writeln!(std::io::stdout(), "{summary}");
    let write = |path: &Option<PathBuf>, text: &dyn Fn() -> anyhow::Result<String>| match path {
        Some(path) => std::fs::write(path, text()?)
            .with_context(|| format!("cannot write {}", path.display())),
        None => Ok(()),
    };
    write(&run.json, &|| Ok(serde_json::to_string_pretty(report)?))?;
    write(&run.report, &|| Ok(html::document(report)))?;
    write(&run.junit, &|| Ok(junit::document(report)))?;
    Ok(code)
}

/// The scenario, and its own schedule where it has one.
fn scenario(run: &Run, doors: Vec<Door>) -> anyhow::Result<(Scenario, Option<Schedule>)> {
    let questions = Questions {
        repeats: run.repeats,
        bytes: run.question_bytes,
        seed: run.seed,
    };
    let told = |why: String| anyhow::anyhow!("{why}");
    if run.scenario == "replay" {
        anyhow::ensure!(
            run.direct.is_none(),
            "--direct: a recording is asked of the target alone"
        );
        let path = run.events.as_deref();
        let path = path.context("the scenario replay needs --events: weir's event file")?;
        let (requests, schedule) = scenario::recorded(path).map_err(told)?;
        return Ok((
            Scenario::of_recording(requests, doors, questions),
            Some(schedule),
        ));
    }
    let made = if run.scenario.ends_with(".yaml") || run.scenario.ends_with(".yml") {
        scenario::read(Path::new(&run.scenario), &doors)
            .map(|requests| Scenario::of_file(requests, doors, questions))
    } else {
        Scenario::built_in(&run.scenario, doors, questions)
    };
    Ok((made.map_err(told)?, None))
}

/// With a second target, as many again are due.
fn schedule(run: &Run, is_paired: bool) -> anyhow::Result<Schedule> {
    let factor = if is_paired { 2.0 } else { 1.0 };
    let rates = run.rate.iter();
    let rates: Vec<_> = rates
        .map(|(from, to)| (from * factor, to * factor))
        .collect();
    let schedule = Schedule::new(&rates, run.duration, run.spikes);
    schedule.map_err(|why| anyhow::anyhow!("--rate: {why}"))
}

fn users(schedule: &Schedule) -> usize {
    let wanted = (schedule.mean_rate() * STALL_S).ceil() as usize;
    wanted.clamp(USERS.0, USERS.1)
}

/// An address without a slash at its end.
fn base(text: &str) -> anyhow::Result<String> {
    let uri: http::Uri = text
        .parse()
        .with_context(|| format!("{text:?} is no address such as http://127.0.0.1:8080"))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    anyhow::ensure!(
        is_http && uri.host().is_some() && matches!(uri.path(), "" | "/"),
        "{text:?}: expected an address such as http://127.0.0.1:8080, without a path"
    );
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether anybody takes connections there.
fn answers(address: &str) -> anyhow::Result<()> {
    let uri: http::Uri = address.parse()?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let usual = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let port = uri.port_u16().unwrap_or(usual);
    let addresses = (host, port)
        .to_socket_addrs()
        .with_context(|| format!("{address} cannot be found"))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "no address".to_owned(), |error| error.to_string());
    anyhow::bail!("nobody answers at {address}: {why}")
}

fn read_report(path: &Path) -> anyhow::Result<Report> {
    let told = || format!("--baseline {}", path.display());
    let text = std::fs::read_to_string(path).with_context(told)?;
    serde_json::from_str(&text).with_context(told)
}

/// A line on stderr now and then, while it runs.
struct Progress {
    done: Arc<std::sync::atomic::AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Progress {
    fn stop(self) {
        self.done.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.thread().unpark();
        // It only prints.
        drop(self.thread.join());
    }
}

fn show_progress(pace: &Arc<Pace>, tallies: &Arc<Tallies>) -> anyhow::Result<Progress> {
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (theirs, pace, tallies) = (done.clone(), pace.clone(), tallies.clone());
    let thread = std::thread::Builder::new()
        .name("progress".to_owned())
        .spawn(move || {
            while !theirs.load(std::sync::atomic::Ordering::Relaxed) {
                std::thread::park_timeout(PROGRESS);
                if pace.elapsed() < PROGRESS {
                    continue;
                }
                let all = tallies.sum().all_but(slo::DIRECT);
                eprintln!(
                    "{:.0} s: {} of {} sent, P99 {:.1} ms, errors {}",
                    pace.elapsed().as_secs_f64(),
                    pace.taken(),
                    pace.schedule().total(),
                    all.latency.quantile_ms(0.99),
                    all.error_count()
                );
            }
        })?;
    Ok(Progress { done, thread })
}
