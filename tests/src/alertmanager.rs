//! A real Alertmanager, from Debian's package, that sends its notifications to a backend.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{self, ClientRequest};
use crate::node;
use crate::process::{self, Process};
use crate::wait;

/// The example configuration of the repository.
const EXAMPLE: &str = include_str!("../../alerts/alertmanager.yml");

/// A running Alertmanager; killed when dropped.
#[derive(Debug)]
pub struct Alertmanager {
    address: SocketAddr,
    process: Process,
    directory: TempDir,
}

impl Alertmanager {
    /// Starts an Alertmanager with the example configuration, with receivers at `hook` and waits of a second. `None` if
    /// it is not installed: the test is skipped, with a message on stderr.
    ///
    /// # Panics
    /// It is not installed and `CI=true`, or it does not start.
    pub async fn start(test: &str, hook: &str) -> Option<Self> {
        let directory = TempDir::new().expect("a temporary directory");
        let mut configuration = EXAMPLE.replace("http://127.0.0.1:9099", hook);
        for (key, waits) in [
            ("group_wait", ["30s", "10s"]),
            ("group_interval", ["5m", "1m"]),
        ] {
            for wait in waits {
                configuration =
                    configuration.replace(&format!("{key}: {wait}\n"), &format!("{key}: 1s\n"));
            }
        }
        configuration.insert_str(0, "global: {resolve_timeout: 2s}\n");
        std::fs::write(directory.path().join("alertmanager.yml"), configuration)
            .expect("alertmanager.yml is written");
        let program = process::tool("prometheus-alertmanager");
        if program.is_none() {
            node::skip(
                test,
                "prometheus-alertmanager is missing, see build/setup.sh",
            );
        }
        Some(Self::launch(&program?, directory, "127.0.0.1:0").await)
    }

    /// Starts it again, with the same address and data.
    ///
    /// # Panics
    /// It does not start.
    pub async fn restart(directory: TempDir, address: SocketAddr) -> Self {
        let program = process::tool("prometheus-alertmanager").expect("it is installed");
        Self::launch(&program, directory, &address.to_string()).await
    }

    /// Stops it, and returns its data and address.
    #[must_use]
    pub fn stop(self) -> (TempDir, SocketAddr) {
        self.process.kill();
        (self.directory, self.address)
    }

    async fn launch(program: &Path, directory: TempDir, listen: &str) -> Self {
        let listen = format!("--web.listen-address={listen}");
        let arguments = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            "--cluster.listen-address=",
            "--log.level=debug",
            &listen,
        ];
        let process = Process::program(program, directory.path(), &arguments);
        let address = wait::found("the address of Alertmanager", wait::PATIENCE, || {
            let output = process.stderr();
            let exit = process.exit();
            assert!(
                exit.is_none(),
                "Alertmanager ended with {exit:?}:\n{output}"
            );
            let line = output.lines().find(|line| line.contains("Listening on"))?;
            line.split_once("address=")?.1.trim().parse().ok()
        })
        .await;
        Alertmanager {
            address,
            process,
            directory,
        }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All active alerts.
    ///
    /// # Panics
    /// The response is not a list.
    pub async fn alerts(&self) -> Vec<Value> {
        let response = client::send(self.address, ClientRequest::get("/api/v2/alerts")).await;
        let alerts: Value = serde_json::from_slice(&response.body).expect("JSON");
        alerts.as_array().expect("a list of alerts").clone()
    }

    /// Its stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }
}
