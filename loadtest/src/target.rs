//! Who is asked what, and how: what `run` and `capacity` have in common.

use std::ffi::OsString;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use weir::config::units;

use crate::attack::{Connecting, Version};
use crate::scenario::lengths;

/// Whoever does not take a connection within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// Where the sidecar is: http://127.0.0.1:8080.
    #[arg(long)]
    pub target: String,
    /// The target's weir.yaml: its routes, schemes and secrets. Left out: the chat, unsigned.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// chat, stream, platforms, abuse, burst, mixed, replay, or a file that ends with .yaml.
    #[arg(long, default_value = "chat")]
    pub scenario: String,
    /// Requests that are under way at once at most; by the rate when left out.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub users: Option<u32>,
    /// Of one request, all of its answer included.
    #[arg(long, default_value = "30s", value_parser = units::duration)]
    pub timeout: Duration,
    /// The share of questions that are asked again and again.
    #[arg(long, default_value = "30%", value_parser = units::ratio)]
    pub repeats: f64,
    /// Of a question: 500, or 100..4000 where lengths differ.
    #[arg(long, default_value = "500", value_parser = lengths)]
    pub question_bytes: (usize, usize),
    /// HTTP/2 from the first byte, also without TLS.
    #[arg(long)]
    pub http2: bool,
    /// Certificates in PEM that are trusted beside the system's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
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

    /// The same arguments for another process.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let (shortest, longest) = self.question_bytes;
        let mut arguments: Vec<OsString> = vec![
            "--target".into(),
            (&self.target).into(),
            "--scenario".into(),
            (&self.scenario).into(),
            "--timeout".into(),
            format!("{}ms", self.timeout.as_millis()).into(),
            "--repeats".into(),
            format!("{}%", self.repeats * 100.0).into(),
            "--question-bytes".into(),
            format!("{shortest}..{longest}").into(),
        ];
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
