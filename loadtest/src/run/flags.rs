//! The flags of `weir-load run`, and checks for invalid combinations.

use std::path::PathBuf;
use std::time::Duration;

use weir::units;

use crate::scenario::Prompts;
use crate::schedule::{self, Spikes};
use crate::slo::Slo;
use crate::target::{TargetArgs, base_url, only_from_environment, positive_duration};

const RATE: f64 = 50.0;
const DURATION: Duration = Duration::from_secs(60);
const TOLERANCE: f64 = 0.1;
const DRAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Environment variables. A value from the environment does not count as a given flag: it may be set for every run.
const ADMIN_TOKEN: &str = "WEIR_ADMIN_TOKEN";
const EVENTS_API_KEY: &str = "WEIR_EVENTS_API_KEY";

/// The arguments of `weir-load run`.
#[derive(clap::Args)]
// The last occurrence of a flag wins, so that scripts can have defaults.
#[command(args_override_self = true)]
pub struct RunArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Arrival rate, independent of responses: constant (50/s, 300/min), a ramp (10/s..100/s), or stages of equal length
    /// (50/s,100/s,200/s) [default: 50/s]
    #[arg(short, long, value_name = "RATE", value_parser = schedule::rates, help_heading = LOAD)]
    rate: Option<std::vec::Vec<(f64, f64)>>,
    /// Test duration, such as 30s or 10m; responses in flight at its end are awaited [default: 60s]
    #[arg(short, long, value_name = "DURATION", value_parser = positive_duration, help_heading = LOAD)]
    duration: Option<Duration>,
    /// Warm-up before the test, at the initial rate; not measured
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = units::duration, help_heading = LOAD)]
    pub(super) warm_up: Duration,
    /// How long requests that are overdue may still be sent after the test duration; the rest is reported as unsent
    /// [default: a tenth of the duration, from 1s to 10s, and at most --timeout]
    #[arg(long, value_name = "DURATION", value_parser = units::duration, help_heading = LOAD)]
    drain: Option<Duration>,
    /// Add spikes as RATE:LENGTH/INTERVAL: 400/s:2s/30s sends 400/s for 2s, every 30s
    #[arg(long, value_name = "SPIKES", value_parser = schedule::spikes, help_heading = LOAD)]
    pub(super) spikes: Option<Spikes>,
    /// Seed of the generated requests; a seed reproduces its prompts [default: random, shown in the report]
    #[arg(long, value_name = "NUMBER", help_heading = LOAD)]
    pub(super) seed: Option<u64>,
    /// Threshold (SLO) that must pass, repeatable: 'p99<800ms', 'error_rate<0.5%', 'rps>=45', 'first_token_p95<1s',
    /// 'added_p99<5ms', 'chat:p99<1s' (only requests named chat). Applied by default: error_rate<1%, unsent<1%
    #[arg(long, value_name = "THRESHOLD", value_parser = Slo::parse, help_heading = THRESHOLDS)]
    pub(super) slo: Vec<Slo>,
    /// Fail on a regression against this --json report of an earlier run
    #[arg(long, value_name = "FILE", help_heading = THRESHOLDS)]
    pub(super) baseline: Option<PathBuf>,
    /// Allowed regression against --baseline [default: 10%]
    #[arg(long, value_name = "PERCENT", value_parser = units::ratio, requires = "baseline", help_heading = THRESHOLDS)]
    tolerance: Option<f64>,
    /// URL of the backend: also send every request directly to it, and measure the latency that the sidecar adds
    #[arg(long, value_name = "URL", help_heading = COMPARE)]
    pub(super) direct: Option<String>,
    /// URL of weir's admin address: compare weir's own metrics with those of the client
    #[arg(long, value_name = "URL", help_heading = COMPARE)]
    pub(super) admin: Option<String>,
    /// Token of the admin address
    #[arg(long, value_name = "TOKEN", env = ADMIN_TOKEN, hide_env_values = true, help_heading = COMPARE)]
    pub(super) admin_token: Option<String>,
    /// Write an HTML report: one self-contained file
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) report: Option<PathBuf>,
    /// Write all results as JSON
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) json: Option<PathBuf>,
    /// Write the thresholds as JUnit XML, for CI
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub(super) junit: Option<PathBuf>,
    /// With --scenario replay: weir's event file, or the URL of a data stream such as
    /// http://127.0.0.1:9200/logs-weir.access-default
    #[arg(long, value_name = "FILE|URL", help_heading = REPLAY)]
    pub(super) events: Option<String>,
    /// With --events URL: replay only matching events, such as 'route:chat AND @timestamp:[now-1h TO now]' [default: *]
    #[arg(long, value_name = "QUERY", help_heading = REPLAY)]
    query: Option<String>,
    /// With --events URL: API key of the index; a user name and password can be part of the URL
    #[arg(long, value_name = "KEY", env = EVENTS_API_KEY, hide_env_values = true, help_heading = REPLAY)]
    pub(super) events_api_key: Option<String>,
    /// With --scenario replay: replay speed; 2 is twice as fast as recorded [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = speed, help_heading = REPLAY)]
    speed: Option<f64>,
}

const LOAD: &str = "Load";
const THRESHOLDS: &str = "Thresholds";
const COMPARE: &str = "Comparison";
const OUTPUT: &str = "Output";
const REPLAY: &str = "Replay";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number from 0.001 to 1000, found {0:?}")]
struct SpeedError(String);

fn speed(text: &str) -> Result<f64, SpeedError> {
    let speed = text.parse().ok();
    let speed = speed.filter(|speed| (0.001..=1000.0).contains(speed));
    speed.ok_or_else(|| SpeedError(text.to_owned()))
}

/// Whether `--events` is the URL of an index, and not a file.
pub(super) fn is_index(events: &str) -> bool {
    events.starts_with("http://") || events.starts_with("https://")
}

impl RunArgs {
    pub(super) fn rates(&self) -> Vec<(f64, f64)> {
        self.rate.clone().unwrap_or_else(|| vec![(RATE, RATE)])
    }

    pub(super) fn duration(&self) -> Duration {
        self.duration.unwrap_or(DURATION)
    }

    /// How long overdue requests may still be sent; a drain as long as the test would distort it.
    pub(super) fn drain(&self, duration: Duration) -> Duration {
        let usual = (duration / 10).clamp(DRAIN.0, DRAIN.1);
        self.drain.unwrap_or(usual.min(self.target.timeout))
    }

    pub(super) fn tolerance(&self) -> f64 {
        self.tolerance.unwrap_or(TOLERANCE)
    }

    pub(super) fn query(&self) -> String {
        self.query.clone().unwrap_or_else(|| "*".to_owned())
    }

    pub(super) fn speed(&self) -> f64 {
        self.speed.unwrap_or(1.0)
    }

    pub(super) fn prompts(&self, seed: u64) -> Prompts {
        self.target.prompts(seed)
    }

    /// The output files, with their flags.
    pub(super) fn outputs(&self) -> [(&'static str, Option<&PathBuf>); 3] {
        [
            ("--report", self.report.as_ref()),
            ("--json", self.json.as_ref()),
            ("--junit", self.junit.as_ref()),
        ]
    }

    /// Rejects flags that have no effect in this run instead of ignoring them, and normalises URLs.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let target = &mut self.target.target;
        *target = base_url("--target", target)?;
        for (flag, address) in [("--direct", &mut self.direct), ("--admin", &mut self.admin)] {
            if let Some(address) = address {
                *address = base_url(flag, address)?;
            }
        }
        self.target.check(self.direct.as_deref())?;
        let token = self.admin_token.as_deref();
        anyhow::ensure!(
            self.admin.is_some() || only_from_environment(token, ADMIN_TOKEN),
            "--admin-token requires --admin"
        );
        if let Some(slo) = self.slo.iter().find(|slo| slo.needs_direct())
            && self.direct.is_none()
        {
            anyhow::bail!(
                "--slo {}: the added latency is only measured with --direct",
                slo.text
            );
        }
        match self.target.scenario.as_str() {
            "replay" => self.check_replay(),
            name => self.check_schedule(name),
        }
    }

    fn check_replay(&self) -> anyhow::Result<()> {
        for (flag, is_given) in [
            ("--rate", self.rate.is_some()),
            ("--duration", self.duration.is_some()),
            ("--warm-up", !self.warm_up.is_zero()),
            ("--spikes", self.spikes.is_some()),
        ] {
            anyhow::ensure!(
                !is_given,
                "{flag} cannot be used with --scenario replay: a recording has its own timing; use --speed"
            );
        }
        anyhow::ensure!(
            self.direct.is_none(),
            "--direct cannot be used with --scenario replay: a recording is only sent to the target"
        );
        let Some(events) = &self.events else {
            anyhow::bail!(
                "--scenario replay requires --events: weir's event file, or the URL of a data stream"
            );
        };
        let key = self.events_api_key.as_deref();
        for (flag, is_given) in [
            ("--query", self.query.is_some()),
            (
                "--events-api-key",
                !only_from_environment(key, EVENTS_API_KEY),
            ),
        ] {
            anyhow::ensure!(
                !is_given || is_index(events),
                "{flag} requires --events with the URL of a data stream such as \
                 http://127.0.0.1:9200/logs-weir.access-default, and {events} is a file"
            );
        }
        Ok(())
    }

    fn check_schedule(&self, name: &str) -> anyhow::Result<()> {
        let key = self.events_api_key.as_deref();
        for (flag, is_given) in [
            ("--events", self.events.is_some()),
            ("--query", self.query.is_some()),
            (
                "--events-api-key",
                !only_from_environment(key, EVENTS_API_KEY),
            ),
            ("--speed", self.speed.is_some()),
        ] {
            anyhow::ensure!(
                !is_given,
                "{flag} requires --scenario replay, and the scenario is {name}"
            );
        }
        Ok(())
    }
}
