//! weir-load as a child process, and its report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::process::{Finished, Process, weir};
use crate::wait;

/// How long a test of a few seconds may take on a busy machine.
const END: Duration = Duration::from_secs(120);

/// The weir-load in the directory of the `weir` under test.
///
/// # Panics
/// There is none.
#[must_use]
pub fn weir_load() -> PathBuf {
    let path = weir().with_file_name("weir-load");
    assert!(
        path.is_file(),
        "no weir-load in the directory of weir: run `cargo build -p weir-load`"
    );
    path
}

/// The result of a load test.
#[derive(Debug)]
pub struct LoadTest {
    pub finished: Finished,
    /// Its `--json`; null if there is none.
    pub report: Value,
}

impl LoadTest {
    /// Runs `weir-load run` in `directory` with `--json`.
    pub async fn run(directory: &Path, arguments: &[&str]) -> Self {
        Self::command("run", directory, arguments).await
    }

    /// Runs a command of weir-load.
    ///
    /// # Panics
    /// It does not end.
    pub async fn command(command: &str, directory: &Path, arguments: &[&str]) -> Self {
        let json = directory.join("load.json");
        let written = ["--json", json.to_str().expect("a path")];
        let all = [&[command][..], arguments, &written].concat();
        let process = Process::program(&weir_load(), directory, &all);
        let finished = process.finished(END).await;
        let text = std::fs::read_to_string(&json).unwrap_or_default();
        LoadTest {
            report: serde_json::from_str(&text).unwrap_or_default(),
            finished,
        }
    }

    /// Its stdout and stderr.
    #[must_use]
    pub fn output(&self) -> String {
        format!("{}{}", self.finished.stdout, self.finished.stderr)
    }

    /// A number in the report, such as `/latency_ms/p99`.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn number(&self, pointer: &str) -> f64 {
        let found = self.report.pointer(pointer).and_then(Value::as_f64);
        found.unwrap_or_else(|| panic!("no {pointer}: {}\n{:#}", self.output(), self.report))
    }

    /// Asserts that weir-load and weir counted exactly the same requests: there is no other client, and weir counts a
    /// request when its response ends. Their times are not compared: on a busy machine each of them waits for the CPU.
    ///
    /// # Panics
    /// The counts differ, or the metrics of weir are missing.
    pub fn assert_counts_match(&self) {
        let comparisons = self.report["sidecar"]["beside"].as_array();
        let comparisons =
            comparisons.unwrap_or_else(|| panic!("no metrics of weir: {}", self.output()));
        let counts = comparisons
            .iter()
            .filter(|one| one["figure"] != "mean time, ms");
        let mut compared = 0;
        for one in counts {
            assert_eq!(one["client"], one["weir"], "{one}\n{}", self.output());
            compared += 1;
        }
        assert!(compared >= 5, "{comparisons:#?}");
    }
}

/// A `weir assistant`, and its URL.
#[derive(Debug)]
pub struct DemoAssistant {
    _process: Process,
    pub url: String,
}

impl DemoAssistant {
    /// Starts it on a port chosen by the system.
    pub async fn start(directory: &Path, arguments: &[&str]) -> Self {
        let all = [&["assistant", "--address", "127.0.0.1:0"][..], arguments].concat();
        let process = Process::start(directory, &all, &[], b"");
        let address = wait::found("the assistant's address", wait::PATIENCE, || {
            let said = process.stderr();
            let (_, address) = said
                .lines()
                .find_map(|line| line.split_once("assistant on "))?;
            Some(address.to_owned())
        })
        .await;
        DemoAssistant {
            url: format!("http://{address}"),
            _process: process,
        }
    }
}
