//! The target, the scenario and the HTTP client: the arguments that `run` and `capacity` have in common.

use std::ffi::OsString;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use weir::units;

use crate::attack::{ClientOptions, HttpVersion};
use crate::routes::{self, LoadedRoutes};
use crate::scenario::{self, Prompts, Scenario, lengths};

/// A target that does not accept a connection within this time is unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const REPEATS: f64 = 0.3;
const QUESTION_BYTES: (usize, usize) = (500, 500);

/// The common arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct TargetArgs {
    /// URL of the sidecar under test, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", help_heading = TARGET)]
    pub target: String,
    /// weir.yaml of the sidecar: requests are sent to its routes and signed with its secrets. Without it, unsigned chat
    /// requests are sent
    #[arg(long, value_name = "FILE", help_heading = TARGET)]
    pub config: Option<PathBuf>,
    /// Scenario to run: chat, stream, platforms, abuse, burst, mixed, replay, or a scenario file that ends with .yaml
    /// (see weir-load schema)
    #[arg(long, value_name = "NAME|FILE", default_value = "chat", help_heading = TARGET)]
    pub scenario: String,
    /// Maximum number of virtual users, and so of requests in flight [default: 16 to 2000, by the rate]
    #[arg(short, long, visible_alias = "vus", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = TARGET)]
    pub users: Option<u32>,
    /// Timeout for each request, including its whole response
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration, help_heading = TARGET)]
    pub timeout: Duration,
    /// Share of prompts that repeat an earlier one, so that a cache can answer them [default: 30%]
    #[arg(long, value_name = "PERCENT", value_parser = units::ratio, help_heading = TARGET)]
    pub repeats: Option<f64>,
    /// Length of a prompt in bytes: 500, or a range such as 100..4000 [default: 500]
    #[arg(long, value_name = "BYTES", value_parser = lengths, help_heading = TARGET)]
    pub question_bytes: Option<(usize, usize)>,
    /// Use only HTTP/2; without TLS, with prior knowledge
    #[arg(long, help_heading = TARGET)]
    pub http2: bool,
    /// CA certificates (PEM) to trust in addition to the system's
    #[arg(long, value_name = "FILE", help_heading = TARGET)]
    pub ca_file: Option<PathBuf>,
}

const TARGET: &str = "Target";

/// Why a duration is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("{0}")]
    Malformed(String),
    #[error("expected a duration above 0, such as 30s")]
    Zero,
}

/// Parses a duration above 0.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn positive_duration(text: &str) -> Result<Duration, DurationError> {
    let duration =
        units::duration(text).map_err(|error| DurationError::Malformed(error.to_string()))?;
    match duration.is_zero() {
        true => Err(DurationError::Zero),
        false => Ok(duration),
    }
}

/// Whether a flag was not given: its value is missing, or comes from an environment variable.
#[must_use]
pub fn only_from_environment(value: Option<&str>, variable: &str) -> bool {
    value.is_none_or(|value| std::env::var(variable).is_ok_and(|set| set == value))
}

impl TargetArgs {
    /// The options of the HTTP client.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn client_options(&self) -> anyhow::Result<ClientOptions> {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("--ca-file {}", path.display()))
        };
        Ok(ClientOptions {
            timeout: self.timeout,
            version: match self.http2 {
                true => HttpVersion::Http2PriorKnowledge,
                false => HttpVersion::Negotiated,
            },
            ca: self.ca_file.as_ref().map(read).transpose()?,
        })
    }

    /// The generator of prompts.
    #[must_use]
    pub fn prompts(&self, seed: u64) -> Prompts {
        Prompts {
            repeats: self.repeats.unwrap_or(REPEATS),
            bytes: self.question_bytes.unwrap_or(QUESTION_BYTES),
            seed,
        }
    }

    /// Rejects flags that have no effect; `direct` is the URL of the backend.
    ///
    /// # Errors
    /// The flag, and what it requires.
    pub fn check(&self, direct: Option<&str>) -> anyhow::Result<()> {
        let is_tls = |url: &str| url.starts_with("https://");
        anyhow::ensure!(
            self.ca_file.is_none() || is_tls(&self.target) || direct.is_some_and(is_tls),
            "--ca-file requires an https:// URL"
        );
        let has_own_bodies = is_file(&self.scenario) || self.scenario == "replay";
        for (flag, is_given) in [
            ("--repeats", self.repeats.is_some()),
            ("--question-bytes", self.question_bytes.is_some()),
        ] {
            anyhow::ensure!(
                !is_given || !has_own_bodies,
                "{flag} only applies to built-in scenarios, and --scenario {} has its own requests",
                self.scenario
            );
        }
        Ok(())
    }

    /// The scenario, except for a replay, and warnings about the configuration.
    ///
    /// # Errors
    /// An invalid configuration, an unknown scenario, or a scenario that needs routes which the target does not have.
    pub fn scenario(&self, seed: u64) -> anyhow::Result<(Scenario, Vec<String>)> {
        let (routes, warnings) = self.routes()?;
        let prompts = self.prompts(seed);
        let scenario = match is_file(&self.scenario) {
            true => {
                let requests = scenario::read(Path::new(&self.scenario), &routes)?;
                Scenario::from_file(requests, routes, prompts)
            }
            false => Scenario::built_in(&self.scenario, routes, prompts)?,
        };
        Ok((scenario, warnings))
    }

    /// The routes of the target.
    ///
    /// # Errors
    /// An invalid configuration.
    pub fn routes(&self) -> anyhow::Result<LoadedRoutes> {
        match &self.config {
            Some(path) => routes::from_config_file(path)
                .with_context(|| format!("--config {}", path.display())),
            None => Ok((routes::default_routes(), Vec::new())),
        }
    }

    /// The same arguments, for a child process.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            "--target".into(),
            (&self.target).into(),
            "--scenario".into(),
            (&self.scenario).into(),
            "--timeout".into(),
            format!("{}ms", self.timeout.as_millis()).into(),
        ];
        if let Some(repeats) = self.repeats {
            arguments.extend(["--repeats".into(), format!("{}%", repeats * 100.0).into()]);
        }
        if let Some((shortest, longest)) = self.question_bytes {
            let lengths = format!("{shortest}..{longest}");
            arguments.extend(["--question-bytes".into(), lengths.into()]);
        }
        if let Some(config) = &self.config {
            arguments.extend(["--config".into(), config.into()]);
        }
        if let Some(users) = self.users {
            arguments.extend(["--users".into(), users.to_string().into()]);
        }
        if let Some(ca_file) = &self.ca_file {
            arguments.extend(["--ca-file".into(), ca_file.into()]);
        }
        if self.http2 {
            arguments.push("--http2".into());
        }
        arguments
    }
}

/// Whether a scenario is a file.
fn is_file(scenario: &str) -> bool {
    scenario.ends_with(".yaml") || scenario.ends_with(".yml")
}

/// Checks the URL of a server, and removes a trailing slash. Errors do not show a URL that may contain a password.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn base_url(flag: &str, text: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        !text.contains('@'),
        "{flag}: expected a URL without user name and password, because it is shown in every report"
    );
    let invalid =
        || format!("{flag} {text:?}: expected a URL such as http://127.0.0.1:8080, without a path");
    let uri: http::Uri = text.parse().with_context(invalid)?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
    anyhow::ensure!(is_http && uri.host().is_some() && !has_path, invalid());
    Ok(text.trim_end_matches('/').to_owned())
}

/// Checks that a server accepts connections.
///
/// # Errors
/// Why it does not.
pub fn check_reachable(address: &str) -> anyhow::Result<()> {
    let uri: http::Uri = address.parse()?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let default_port = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let port = uri.port_u16().unwrap_or(default_port);
    let addresses = (host, port)
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve {address}"))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map_or_else(
        || "its name has no address".to_owned(),
        |error| error.to_string(),
    );
    anyhow::bail!("cannot connect to {address}: {reason}")
}
