//! The npm package http-cache-tests: its server as a backend, and its client, which tests a cache in front of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::node;
use crate::process::{self, Process};
use crate::wait;

/// The tests wait three seconds each, many at once; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running server of the package; killed when dropped.
#[derive(Debug)]
pub struct HttpCacheTests {
    address: SocketAddr,
    package: PathBuf,
    _server: Process,
    directory: TempDir,
}

/// What a test requires of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Conformance.
    Required,
    /// Reuse of what may be reused.
    Optimal,
    /// A question: no result is wrong.
    Check,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Required, Kind::Optimal, Kind::Check];

    /// Its name in the package.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Required => "required",
            Kind::Optimal => "optimal",
            Kind::Check => "check",
        }
    }
}

/// One test's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    pub id: String,
    pub kind: Kind,
    /// `None`: passed.
    pub failure: Option<String>,
}

impl HttpCacheTests {
    /// Starts the server; `None` if the package is not installed, with a message.
    ///
    /// # Panics
    /// It is not installed and `CI=true`, or does not start.
    pub async fn start(test: &str) -> Option<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../.tools/http-cache-tests/node_modules/http-cache-tests");
        if process::tool("node").is_none() || !package.is_dir() {
            node::skip(
                test,
                "node or http-cache-tests is missing, see build/setup.sh",
            );
            return None;
        }
        let directory = TempDir::new().expect("a temporary directory");
        let script = package.join("server/server.mjs");
        let arguments = [
            "npm_config_protocol=http",
            "npm_config_port=0",
            "npm_config_pidfile=server.pid",
            "node",
            script.to_str().expect("a path in UTF-8"),
        ];
        let server = Process::program(Path::new("/usr/bin/env"), directory.path(), &arguments);
        let port = wait::found("http-cache-tests' server", PATIENCE, || {
            let exit = server.exit();
            assert!(
                exit.is_none(),
                "it ended with {exit:?}: {}",
                server.stderr()
            );
            port_of(&server.stdout())
        })
        .await;
        Some(HttpCacheTests {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            package,
            _server: server,
            directory,
        })
    }

    /// Where the server listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tests the cache at `cache` with the tests of these ids, or with all of them.
    ///
    /// # Panics
    /// The client fails.
    pub async fn run(&self, cache: SocketAddr, ids: &[String]) -> Vec<TestResult> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("http-cache-tests/node.mjs");
        let (script, package) = (script.to_str(), self.package.to_str());
        let base = format!("http://{cache}");
        let mut arguments = vec![
            "node",
            script.expect("a path in UTF-8"),
            package.expect("a path in UTF-8"),
            &base,
        ];
        arguments.extend(ids.iter().map(String::as_str));
        let client = Process::program(Path::new("/usr/bin/env"), self.directory.path(), &arguments);
        let ended = client.finished(PATIENCE).await;
        assert_eq!(ended.code, Some(0), "http-cache-tests: {}", ended.stderr);
        let rows: Vec<(String, String, serde_json::Value)> =
            serde_json::from_str(&ended.stdout).expect("its results in JSON");
        rows.into_iter().map(TestResult::of_row).collect()
    }
}

/// The port that the server prints.
fn port_of(output: &str) -> Option<u16> {
    let line = output
        .lines()
        .find(|line| line.starts_with("Listening on "))?;
    line.trim_end_matches('/').rsplit(':').next()?.parse().ok()
}

impl TestResult {
    fn of_row((id, kind, result): (String, String, serde_json::Value)) -> Self {
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind);
        TestResult {
            kind: kind.expect("a kind of tests"),
            failure: result.as_str().map(str::to_owned),
            id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_server_is_the_last_part_of_its_address() {
        assert_eq!(port_of(""), None);
        assert_eq!(port_of("Listening on http://[::]:8123/\n"), Some(8123));
        assert_eq!(port_of("Listening on http://0.0.0.0:81/\n"), Some(81));
    }
}
