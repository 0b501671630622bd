//! The configuration: a file is read into raw settings that keep their place (`raw`), checked as a
//! whole (`check`), and becomes a [`Config`] that every room can rely on.
//!
//! Nothing here opens a port or a connection. All mistakes of a file are reported at once, each with
//! its line, column and what to write instead; a configuration with a mistake is never used.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::{backend, record, route};

pub mod units;

/// A configuration that has been checked whole.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: Vec<Listen>,
    pub limits: Limits,
    pub trusted_proxies: Vec<IpNet>,
    pub admin: Admin,
    /// A route names its backend by the position in this list.
    pub backends: Vec<Arc<backend::Config>>,
    /// In the order of the file: the first that matches wins.
    pub routes: Vec<Arc<route::Config>>,
    pub events: record::Config,
    /// How long running requests may take after SIGTERM.
    pub drain: Duration,
}

/// One address that requests are taken on. Port 0 lets the system choose.
#[derive(Clone, Debug)]
pub struct Listen {
    pub address: SocketAddr,
    pub tls: Option<Tls>,
}

/// PEM files; read again when they change.
#[derive(Clone, Debug)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The bounds of every connection.
#[derive(Clone, Debug)]
pub struct Limits {
    pub header_bytes: usize,
    /// For the whole request head, not per read.
    pub header_timeout: Duration,
    /// Of all bodies held at once.
    pub buffered_bytes: u64,
    pub connections: usize,
    pub idle_timeout: Duration,
}

/// The operator's side.
#[derive(Clone, Debug)]
pub struct Admin {
    pub address: SocketAddr,
    /// `None` only on a loopback address.
    pub token: Option<Arc<str>>,
}

/// A checked configuration and what its author should know all the same.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Whole sentences: a key whose feature is not in this version yet, an example secret, a route
    /// that no request can reach, a scheme that covers no body.
    pub warnings: Vec<String>,
}

/// Everything that is wrong with one file, in the order of its lines. `Display` is what `weir check`
/// prints: place, what is wrong, the line itself, what is expected.
#[derive(Debug)]
pub struct Mistakes {
    pub file: PathBuf,
    pub list: Vec<Mistake>,
}

/// One mistake; line and column count from 1 (0, 0 for the file as a whole).
#[derive(Clone, Debug)]
pub struct Mistake {
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// The text of the line; secrets that came from the environment are not in it.
    pub source_line: String,
}

impl std::fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = formatter;
        todo!("config helper")
    }
}

impl std::error::Error for Mistakes {}

/// Reads and checks the file at `path`.
///
/// # Errors
/// Every mistake in it, or that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Mistakes> {
    let text = std::fs::read_to_string(path);
    let _ = text;
    todo!("config helper")
}

/// Checks a configuration given as text; `file` is what messages call it. `environment` answers for
/// `${NAME}`.
///
/// # Errors
/// Every mistake in it.
pub fn parse(
    text: &str,
    file: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Mistakes> {
    let _ = (text, file, environment);
    todo!("config helper")
}

/// The JSON Schema (2020-12) of the file, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    todo!("config helper")
}
