//! The load tester as a child process, and its report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::process::{Finished, Process, weir};
use crate::wait;

/// How long a test of some seconds may take on a busy machine.
const END: Duration = Duration::from_secs(120);

/// The load tester beside the `weir` of these tests.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn weir_load() -> PathBuf {
    let path = weir().with_file_name("weir-load");
    assert!(
        path.is_file(),
        "no weir-load beside weir: run `cargo build -p weir-load`"
    );
    path
}

/// What came of a test.
#[derive(Debug)]
pub struct LoadTest {
    pub finished: Finished,
    /// Its `--json`; null when there is none.
    pub report: Value,
}

impl LoadTest {
    /// Runs `weir-load run` in `directory` with `--json`.
    pub async fn run(directory: &Path, arguments: &[&str]) -> Self {
        Self::command("run", directory, arguments).await
    }

    /// Runs one of its commands.
    ///
    /// # Panics
    /// When it does not come to an end.
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

    /// Everything that it said.
    #[must_use]
    pub fn output(&self) -> String {
        format!("{}{}", self.finished.stdout, self.finished.stderr)
    }

    /// A number of the report: `/latency_ms/p99`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn number(&self, pointer: &str) -> f64 {
        let found = self.report.pointer(pointer).and_then(Value::as_f64);
        found.unwrap_or_else(|| panic!("no {pointer}: {}\n{:#}", self.output(), self.report))
    }

    /// That the client and weir have counted the same, to the last request: nobody else asks the weir of a test, and it
    /// has counted an answer when that is over. Their times are no business of a test: on a busy machine each of the two
    /// waits for the processor where the other does not see it.
    ///
    /// # Panics
    /// When they have not, or when there are no figures of weir's.
    pub fn assert_counts_match(&self) {
        let beside = self.report["sidecar"]["beside"].as_array();
        let beside = beside.unwrap_or_else(|| panic!("no figures of weir's: {}", self.output()));
        let counts = beside.iter().filter(|one| one["figure"] != "mean time, ms");
        let mut seen = 0;
        for one in counts {
            assert_eq!(one["client"], one["weir"], "{one}\n{}", self.output());
            seen += 1;
        }
        assert!(seen >= 5, "{beside:#?}");
    }
}

/// A `weir assistant`, and its address.
#[derive(Debug)]
pub struct DemoAssistant {
    _process: Process,
    pub url: String,
}

impl DemoAssistant {
    /// Starts one on a port of the system's choice.
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
