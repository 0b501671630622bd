//! The runs of a search: each this program with `run`, in a process of its own that ends with the search.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;

use crate::report::Report;
use crate::run::{FAILED, PASSED};

/// Between two looks whether a run has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Of what a run says that cannot go on.
const SAID: &str = "weir-load: it could not run: ";

/// Starts runs, until a signal comes.
#[derive(Debug)]
pub(super) struct Runs {
    is_interrupted: Arc<AtomicBool>,
}

impl Runs {
    /// # Errors
    /// When signals cannot be heard of.
    pub(super) fn new() -> anyhow::Result<Self> {
        let is_interrupted: Arc<AtomicBool> = Arc::default();
        let theirs = is_interrupted.clone();
        ctrlc::set_handler(move || theirs.store(true, Ordering::Relaxed))?;
        Ok(Runs { is_interrupted })
    }

    /// Runs one, with a file for its report.
    ///
    /// # Errors
    /// Why it could not run, or that a signal came.
    pub(super) fn run(&self, arguments: impl Fn(&Path) -> Vec<OsString>) -> anyhow::Result<Report> {
        let folder = tempfile::tempdir()?;
        let (json, said) = (folder.path().join("run.json"), folder.path().join("said"));
        let mut child = Command::new(std::env::current_exe()?)
            .arg("run")
            .args(arguments(&json))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()?;
        let status = self.end_of(&mut child)?;
        match status.code().map(u8::try_from) {
            Some(Ok(PASSED | FAILED)) => {
                let text = std::fs::read_to_string(&json).context("it left no report")?;
                serde_json::from_str(&text).context("its report")
            }
            _ => {
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                match said.split_once(SAID) {
                    Some((_, why)) => anyhow::bail!("{}", why.trim_end()),
                    None => anyhow::bail!("it ended with {status}"),
                }
            }
        }
    }

    /// Its end; on a signal an early one.
    fn end_of(&self, child: &mut Child) -> anyhow::Result<ExitStatus> {
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
            std::thread::park_timeout(LOOK);
        }
    }

    fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::Relaxed)
    }
}
