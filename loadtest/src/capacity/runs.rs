//! Runs `weir-load run` in child processes, which end with the search.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::exit_code::{ERROR_PREFIX, FAILED, PASSED};
use crate::report::Report;

/// How often to check whether a run has ended.
const POLL: Duration = Duration::from_millis(20);
/// Launches runs until a signal interrupts the search.
#[derive(Debug)]
pub(super) struct RunLauncher {
    is_interrupted: Arc<AtomicBool>,
}

impl RunLauncher {
    /// Installs the signal handler.
    ///
    /// # Errors
    /// The handler cannot be installed.
    pub(super) fn new() -> anyhow::Result<Self> {
        let is_interrupted: Arc<AtomicBool> = Arc::default();
        let flag = is_interrupted.clone();
        ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
        Ok(RunLauncher { is_interrupted })
    }

    /// Launches a run and reads its report. `arguments` gets the path for `--json`.
    ///
    /// # Errors
    /// The error of the run, or an interrupt.
    pub(super) fn run(&self, arguments: impl Fn(&Path) -> Vec<OsString>) -> anyhow::Result<Report> {
        let directory = tempfile::tempdir()?;
        let (json, stderr) = (
            directory.path().join("run.json"),
            directory.path().join("stderr"),
        );
        let mut child = Command::new(std::env::current_exe()?)
            .arg("run")
            .args(arguments(&json))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr)?)
            .spawn()?;
        let status = self.wait(&mut child)?;
        match status.code().map(u8::try_from) {
            Some(Ok(PASSED | FAILED)) => {
                let text = std::fs::read_to_string(&json).context("the run wrote no report")?;
                serde_json::from_str(&text).context("the report of the run is invalid")
            }
            _ => {
                let stderr = std::fs::read_to_string(&stderr).unwrap_or_default();
                match stderr.split_once(ERROR_PREFIX) {
                    Some((_, reason)) => anyhow::bail!("{}", reason.trim_end()),
                    None => anyhow::bail!("the run ended with {status}"),
                }
            }
        }
    }

    /// Waits for a run, and kills it when the search is interrupted.
    fn wait(&self, child: &mut Child) -> anyhow::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                anyhow::ensure!(!self.is_interrupted(), "the search was interrupted");
                return Ok(status);
            }
            if self.is_interrupted() {
                child.kill()?;
                child.wait()?;
                anyhow::bail!("the search was interrupted");
            }
            std::thread::park_timeout(POLL);
        }
    }

    fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::Relaxed)
    }
}
