//! A real Alertmanager, from Debian's package, that tells a backend of what it is told.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{self, ClientRequest};
use crate::node;
use crate::process::{self, Process};
use crate::wait;

/// The configuration that weir's users begin with.
const EXAMPLE: &str = include_str!("../../alerts/alertmanager.yml");

/// A running Alertmanager; killed when dropped.
#[derive(Debug)]
pub struct Alertmanager {
    address: SocketAddr,
    process: Process,
    directory: TempDir,
}

impl Alertmanager {
    /// Starts one with the repository's example of a configuration, whose receivers are paths of `hook`
    /// and whose waits are a second. Says on stderr when there is none: then the test is skipped.
    ///
    /// # Panics
    /// When there is none and `CI=true`; when it ends or does not come up.
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
        Some(Self::begin(&program?, directory, "127.0.0.1:0").await)
    }

    /// Ends it and starts it again, on the same address and with what it kept.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn again(directory: TempDir, address: SocketAddr) -> Self {
        let program = process::tool("prometheus-alertmanager").expect("it was there before");
        Self::begin(&program, directory, &address.to_string()).await
    }

    /// Ends it; its address and data are left.
    #[must_use]
    pub fn stop(self) -> (TempDir, SocketAddr) {
        self.process.kill();
        (self.directory, self.address)
    }

    async fn begin(program: &Path, directory: TempDir, listen: &str) -> Self {
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
            let said = process.stderr();
            let exit = process.exit();
            assert!(exit.is_none(), "Alertmanager ended with {exit:?}:\n{said}");
            let line = said.lines().find(|line| line.contains("Listening on"))?;
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

    /// Every alert that is in force.
    ///
    /// # Panics
    /// When it does not answer with a list.
    pub async fn alerts(&self) -> Vec<Value> {
        let reply = client::send(self.address, ClientRequest::get("/api/v2/alerts")).await;
        let alerts: Value = serde_json::from_slice(&reply.body).expect("JSON");
        alerts.as_array().expect("a list of alerts").clone()
    }

    /// Everything that it said on stderr.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }
}
