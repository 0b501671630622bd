//! Who is asked what, and how: what `run` and `capacity` have in common.

use std::ffi::OsString;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use weir::config::units;

use crate::attack::{Connecting, Version};
use crate::routes::{self, Door};
use crate::scenario::{self, Questions, Scenario, lengths};

/// Whoever does not take a connection within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

const REPEATS: f64 = 0.3;
const QUESTION_BYTES: (usize, usize) = (500, 500);

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// URL of the sidecar under test, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", help_heading = TARGET)]
    pub target: String,
    /// The sidecar's weir.yaml: requests are made for its routes and signed with its secrets. Without it, unsigned
    /// chat requests are sent
    #[arg(long, value_name = "FILE", help_heading = TARGET)]
    pub config: Option<PathBuf>,
    /// Scenario to run: chat, stream, platforms, abuse, burst, mixed, replay, or a file of your own that ends with
    /// .yaml (its format: weir-load schema)
    #[arg(long, value_name = "NAME|FILE", default_value = "chat", help_heading = TARGET)]
    pub scenario: String,
    /// Maximum number of virtual users, which is requests in flight [default: by the rate, 16 to 2000]
    #[arg(short, long, visible_alias = "vus", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = TARGET)]
    pub users: Option<u32>,
    /// Timeout for each request, its whole answer included
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive, help_heading = TARGET)]
    pub timeout: Duration,
    /// Share of questions that were asked before, so that a cache can answer them [default: 30%]
    #[arg(long, value_name = "PERCENT", value_parser = units::ratio, help_heading = TARGET)]
    pub repeats: Option<f64>,
    /// Length of a question in bytes: 500, or a range such as 100..4000 [default: 500]
    #[arg(long, value_name = "BYTES", value_parser = lengths, help_heading = TARGET)]
    pub question_bytes: Option<(usize, usize)>,
    /// Use HTTP/2 only; without TLS, by prior knowledge
    #[arg(long, help_heading = TARGET)]
    pub http2: bool,
    /// CA certificates (PEM) to trust in addition to the system's
    #[arg(long, value_name = "FILE", help_heading = TARGET)]
    pub ca_file: Option<PathBuf>,
}

const TARGET: &str = "Target";

/// A duration that is longer than nothing.
///
/// # Errors
/// What a duration looks like.
pub fn positive(text: &str) -> Result<Duration, String> {
    let duration = units::duration(text).map_err(|error| error.to_string())?;
    match duration.is_zero() {
        true => Err("expected more than nothing, such as 30s".to_owned()),
        false => Ok(duration),
    }
}

/// Whether a value was given by nobody, or only by the environment, which is the same for every run.
#[must_use]
pub fn only_from_environment(value: Option<&str>, variable: &str) -> bool {
    value.is_none_or(|value| std::env::var(variable).is_ok_and(|set| set == value))
}

impl Target {
    /// # Errors
    /// A file that cannot be read.
    pub fn connecting(&self) -> anyhow::Result<Connecting> {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("--ca-file {}", path.display()))
        };
        Ok(Connecting {
            timeout: self.timeout,
            version: match self.http2 {
                true => Version::Http2,
                false => Version::Usual,
            },
            ca: self.ca_file.as_ref().map(read).transpose()?,
        })
    }

    /// The questions that are asked.
    #[must_use]
    pub fn questions(&self, seed: u64) -> Questions {
        Questions {
            repeats: self.repeats.unwrap_or(REPEATS),
            bytes: self.question_bytes.unwrap_or(QUESTION_BYTES),
            seed,
        }
    }

    /// Flags that mean nothing here are mistakes; `direct` is the other address that is asked.
    ///
    /// # Errors
    /// Which flag, and what it would be of.
    pub fn check(&self, direct: Option<&str>) -> anyhow::Result<()> {
        let is_tls = |url: &str| url.starts_with("https://");
        anyhow::ensure!(
            self.ca_file.is_none() || is_tls(&self.target) || direct.is_some_and(is_tls),
            "--ca-file is of TLS, and no URL begins with https://"
        );
        let asks_its_own = is_file(&self.scenario) || self.scenario == "replay";
        for (flag, is_given) in [
            ("--repeats", self.repeats.is_some()),
            ("--question-bytes", self.question_bytes.is_some()),
        ] {
            anyhow::ensure!(
                !is_given || !asks_its_own,
                "{flag} is of the built-in questions, and --scenario {} has its own",
                self.scenario
            );
        }
        Ok(())
    }

    /// The scenario, with the seed of its questions, and what is to be known of it before it runs. Not of a
    /// recording, which brings its own schedule.
    ///
    /// # Errors
    /// A configuration with a mistake, an unknown scenario, or one that the target has no route for.
    pub fn scenario(&self, seed: u64) -> anyhow::Result<(Scenario, Vec<String>)> {
        let (doors, warnings) = self.doors()?;
        let questions = self.questions(seed);
        let made = match is_file(&self.scenario) {
            true => scenario::read(Path::new(&self.scenario), &doors)
                .map(|requests| Scenario::of_file(requests, doors, questions)),
            false => Scenario::built_in(&self.scenario, doors, questions),
        };
        let made = made.map_err(|why| anyhow::anyhow!("{why}"))?;
        Ok((made, warnings))
    }

    /// The target's routes.
    ///
    /// # Errors
    /// A configuration with a mistake.
    pub fn doors(&self) -> anyhow::Result<(Vec<Door>, Vec<String>)> {
        match &self.config {
            Some(path) => {
                routes::of_file(path).with_context(|| format!("--config {}", path.display()))
            }
            None => Ok((routes::open(), Vec::new())),
        }
    }

    /// The same arguments for another process.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
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

/// Whether a scenario is one of somebody's own.
fn is_file(scenario: &str) -> bool {
    scenario.ends_with(".yaml") || scenario.ends_with(".yml")
}

/// An address without a slash at its end. What is wrong is told without it where a password may be in it.
///
/// # Errors
/// What is no such address, and what to write instead.
pub fn base(flag: &str, text: &str) -> anyhow::Result<String> {
    anyhow::ensure!(
        !text.contains('@'),
        "{flag}: expected an address without name and password, since it stands in every report"
    );
    let wrong = || {
        format!(
            "{flag} {text:?}: expected an address such as http://127.0.0.1:8080, without a path"
        )
    };
    let uri: http::Uri = text.parse().with_context(wrong)?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_path = !matches!(uri.path(), "" | "/") || uri.query().is_some();
    anyhow::ensure!(is_http && uri.host().is_some() && !has_path, wrong());
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether anybody takes connections there.
///
/// # Errors
/// Why nobody does.
pub fn answers(address: &str) -> anyhow::Result<()> {
    let uri: http::Uri = address.parse()?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let usual = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
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
