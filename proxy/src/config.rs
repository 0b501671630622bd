//! The configuration: a file is parsed into a tree with positions (`tree`), its `${...}` are replaced (`interpolate`),
//! it is decoded into raw settings (`raw`, declared once for decoding, defaults, schema and reference), checked as a
//! whole (`check`), and becomes the [`Config`] that all modules use.
//!
//! Nothing here opens a port or a connection. All errors of a file are reported at once, each with
//! its line, column and what to write instead; a configuration with an error is never used.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::zeroize::Zeroizing;

use crate::exchange::EventSampling;
use crate::route::path::EncodedSlash;
use crate::settings::changes::Comparison;
use crate::settings::decode::{Decode, schema_of};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::{interpolate, node, tree};
use crate::{alert, audit, backend, content, http, record, redis, ship, trace};

mod check;
pub mod file;
mod labels;
mod raw;
mod route;

pub use crate::settings::changes::Changes;
pub use crate::settings::diagnostic::{ConfigError, Diagnostic, Warning};
pub use crate::settings::interpolate::as_it_was_meant;
pub use crate::settings::secret::SecretText;
pub use route::Route;

#[cfg(test)]
mod tests;

/// A configuration that has been checked whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub listen: Vec<Listen>,
    pub limits: http::Limits,
    /// How `%2F` in a path is treated.
    pub encoded_slash: EncodedSlash,
    pub trusted_proxies: Vec<IpNet>,
    pub admin: AdminApi,
    /// A route names its backend by the position in this list.
    pub backends: Vec<Arc<backend::Config>>,
    /// In the order of the file: the first that matches wins.
    pub routes: Vec<Arc<Route>>,
    pub events: record::Config,
    /// Where events are shipped to; `None`: nowhere.
    pub ship: Option<ship::Config>,
    /// `None`: no audit log.
    pub audit: Option<audit::Config>,
    /// Where spans are sent to; `None`: nowhere, and none are made.
    pub spans: Option<record::otlp::Config>,
    /// What replicas share; `None`: nothing.
    pub redis: Option<redis::Config>,
    pub alerts: alert::Config,
    /// How prompts and responses are recorded.
    pub content: content::Mode,
    /// Which traces are recorded.
    pub trace_sampling: trace::TraceSampling,
    /// Which requests have an event.
    pub event_sampling: EventSampling,
    /// How long running requests may take after SIGTERM, and after an upgrade.
    pub drain: Duration,
    /// The Unix socket over which this process hands over to its successor; `None`: it cannot.
    pub upgrade_socket: Option<PathBuf>,
}

/// One address that requests are accepted on. With port 0 the system chooses the port.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    pub address: SocketAddr,
    pub tls: Option<Tls>,
}

/// PEM files; read again when they change.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminApi {
    pub address: SocketAddr,
    /// `None` only on a loopback address.
    pub token: Option<SecretText>,
}

/// A checked configuration and its warnings.
#[derive(Debug)]
pub struct LoadedConfig {
    pub config: Config,
    /// A key whose feature is not in this version yet, an example secret, a route that no request can
    /// reach, a scheme that covers no body.
    pub warnings: Vec<Warning>,
    values: FileValues,
}

/// The values of the file, for [`diff`]: of a secret only a hash is kept.
struct FileValues(node::YamlNode);

impl std::fmt::Debug for FileValues {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FileValues")
    }
}

/// The keys in which two configurations differ, and those of them that need a restart.
#[must_use]
pub fn diff(old: &LoadedConfig, new: &LoadedConfig) -> Changes {
    let mut comparison = Comparison::new();
    raw::File::compare(&old.values.0, &new.values.0, &mut comparison);
    let mut changes = comparison.into_changes();
    changes
        .changed
        .extend(replaced_pem_files(old, new, &changes));
    changes
}

/// The backends whose PEM files have another content, though the keys that name them have not changed.
fn replaced_pem_files(old: &LoadedConfig, new: &LoadedConfig, known: &Changes) -> Vec<String> {
    let mut replaced = Vec::new();
    for backend in &new.config.backends {
        let mut before = old.config.backends.iter();
        let before = before.find(|before| before.name == backend.name);
        let key = format!("backends[{}].tls", backend.name);
        let is_known = known.changed.iter().any(|other| other.starts_with(&key));
        if before.is_some_and(|before| before.tls != backend.tls) && !is_known {
            replaced.push(key);
        }
    }
    replaced
}

/// The paths that are searched when none is given.
const PLACES: [&str; 2] = ["weir.yaml", "/etc/weir/weir.yaml"];

/// The path of the configuration: `path`, else weir.yaml in the working directory, else /etc/weir/weir.yaml.
///
/// # Errors
/// None is given, and neither of the two exists.
pub fn find(path: Option<&Path>) -> Result<PathBuf, ConfigError> {
    if let Some(path) = path {
        return Ok(path.to_owned());
    }
    let found = PLACES.map(Path::new).into_iter().find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        let [here, system] = PLACES;
        let message = format!(
            "no such file here, and no {system} either; specify one with --config FILE, or run `weir demo`, which needs none"
        );
        ConfigError::of_file(Path::new(here), message)
    })
}

/// The largest file that is read: far more than any real configuration.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads and checks the file at `path`; `${NAME}` is replaced from the environment of the process.
///
/// # Errors
/// Every error in it, or that it cannot be read.
pub fn load(path: &Path) -> Result<LoadedConfig, ConfigError> {
    let text = read(path)?;
    parse(&text, path, &|name| std::env::var(name).ok())
}

fn read(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let cannot = |why: String| ConfigError::of_file(path, format!("cannot be read: {why}"));
    let of_error = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => cannot(
            "no such file; specify one with --config FILE, or run `weir demo`, which needs none"
                .to_owned(),
        ),
        _ => cannot(error.to_string()),
    };
    let file = std::fs::File::open(path).map_err(of_error)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(of_error)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(cannot(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes)
        .map(Zeroizing::new)
        .map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            cannot(format!("line {line} is not UTF-8; save the file as UTF-8"))
        })
}

/// Checks a configuration given as text; `file` is its name in messages. `environment` provides the values of
/// `${NAME}`.
///
/// # Errors
/// Every error in it.
pub fn parse(
    text: &str,
    file: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<LoadedConfig, ConfigError> {
    let mut diagnostics = Diagnostics::default();
    let config = tree::parse(text, &mut diagnostics).and_then(|mut root| {
        interpolate::interpolate(&mut root, text, environment, &mut diagnostics);
        // Secrets are found before anything is reported: an alias may refer to one from a key above.
        let mut first = Diagnostics::default();
        raw::File::decode(&root, &mut first);
        diagnostics.spans.hide_as(first.spans);
        let raw = raw::File::decode(&root, &mut diagnostics)?;
        let config = check::check(&raw, &mut diagnostics)?;
        root.hash_secrets(&|bytes| diagnostics.spans.is_secret(bytes));
        Some((config, FileValues(root)))
    });
    match config {
        Some((config, values)) if diagnostics.errors() == 0 => {
            let name_of = |list: &str, position: usize| match list {
                "routes" => config.routes.get(position).map(|route| &*route.name),
                "backends" => config.backends.get(position).map(|backend| &*backend.name),
                _ => None,
            };
            Ok(LoadedConfig {
                warnings: diagnostics.into_warnings(name_of),
                config,
                values,
            })
        }
        _ => {
            if diagnostics.errors() == 0 {
                diagnostics.error(
                    node::FilePosition::START,
                    "the file was not understood; this is a bug in weir, please report it",
                );
            }
            Err(diagnostics.into_error(file, text, known_keys))
        }
    }
}

/// The defaults: a file with one backend, one route and nothing else.
///
/// # Errors
/// Never, as a test shows.
pub fn defaults() -> Result<LoadedConfig, ConfigError> {
    let least = "backends: [{name: assistant, endpoints: ['http://127.0.0.1:8000']}]\n\
                 routes: [{name: everything, path: '/*', backend: assistant}]\n";
    parse(least, Path::new("the defaults"), &|_| None)
}

/// The JSON Schema (2020-12) of the file, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    schema_of::<raw::File>()
}

/// The names of all keys, from the schema.
fn known_keys() -> BTreeSet<String> {
    let schema = schema();
    let definitions = schema["$defs"].as_object();
    let all = definitions.into_iter().flat_map(serde_json::Map::values);
    all.chain([&schema])
        .filter_map(|mapping| mapping["properties"].as_object())
        .flat_map(serde_json::Map::keys)
        .cloned()
        .collect()
}
