//! Verifies the hash chain of an audit log.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::chain::{ChainHead, ChainLink, ExpiredFile};
use super::file::{files, read_head};

/// Longer than any line of this log.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// The maximum number of faults that are reported.
const FAULTS_MAX: usize = 100;

/// The result of a verification.
#[derive(Debug, Default)]
pub struct VerifyReport {
    pub files: usize,
    pub lines: u64,
    /// The sequence numbers of the first and the last line.
    pub first: u64,
    pub last: u64,
    /// The hash of the last line. A copy kept elsewhere shows whether the log was rewritten.
    pub hash: String,
    pub faults: Vec<Fault>,
}

/// A fault and its location.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: PathBuf,
    /// Counted from 1; `None` if the fault concerns no line.
    pub line: Option<u64>,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.what)
    }
}

/// Checks the log at `path`, with its rotated files and its head.
///
/// # Errors
/// When there is no log, or it cannot be read.
pub fn verify(path: &Path) -> io::Result<VerifyReport> {
    let report = verify_once(path)?;
    // A rotation during verification can look like a fault, but not twice.
    match report.faults.is_empty() {
        true => Ok(report),
        false => verify_once(path),
    }
}

fn verify_once(path: &Path) -> io::Result<VerifyReport> {
    // Read first: the log only grows, so it contains at least what the head refers to.
    let head = read_head(path);
    let files = files(path)?;
    if files.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut reading = Verification {
        report: VerifyReport {
            files: files.len(),
            ..VerifyReport::default()
        },
        before: None,
        recorded: head.as_ref().ok().cloned().flatten(),
        head_seen: false,
        first: None,
        expired: Vec::new(),
    };
    for file in &files {
        reading.read(file)?;
    }
    reading.finish(path, &files[0], head)
}

/// The state of a verification.
struct Verification {
    report: VerifyReport,
    before: Option<ChainHead>,
    /// The content of the head file.
    recorded: Option<ChainHead>,
    head_seen: bool,
    /// The number of the first line, and the hash before it.
    first: Option<(u64, String)>,
    expired: Vec<ExpiredFile>,
}

impl Verification {
    fn read(&mut self, path: &Path) -> io::Result<()> {
        let mut file = BufReader::new(File::open(path)?);
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            if (&mut file)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)?
                == 0
            {
                return Ok(());
            }
            number += 1;
            let text = String::from_utf8_lossy(&line);
            self.line(path, number, text.trim_end_matches('\n'));
            if !text.ends_with('\n') {
                let what = "this line has no newline: the rest of it is missing";
                self.fault(path, Some(number), what.to_owned());
            }
        }
    }

    fn line(&mut self, path: &Path, number: u64, text: &str) {
        self.report.lines += 1;
        let link = match ChainLink::read(text) {
            Ok(link) => link,
            Err(invalid) => {
                self.fault(path, Some(number), invalid.to_string());
                return;
            }
        };
        let sequence = link.sequence;
        match &self.before {
            None => self.first = Some((sequence, link.previous.clone())),
            Some(before) if before.sequence + 1 < sequence => {
                let missing = match (before.sequence + 1, sequence - 1) {
                    (from, to) if from == to => format!("line {from} is missing before this one"),
                    (from, to) => format!("lines {from} to {to} are missing before this one"),
                };
                self.fault(path, Some(number), missing);
            }
            Some(before) if before.sequence + 1 > sequence => {
                let what = format!(
                    "this is line {sequence}, but it follows line {}",
                    before.sequence
                );
                self.fault(path, Some(number), what);
            }
            Some(before) if before.hash != link.previous => {
                let what = format!(
                    "this line does not match the one before: line {} was rewritten",
                    before.sequence
                );
                self.fault(path, Some(number), what);
            }
            Some(_) => {}
        }
        let head = link.head();
        self.head_seen |= self.recorded.as_ref() == Some(&head);
        self.before = Some(head);
        self.expired.extend(link.expired);
    }

    fn finish(
        mut self,
        path: &Path,
        oldest: &Path,
        head: io::Result<Option<ChainHead>>,
    ) -> io::Result<VerifyReport> {
        if let Some((sequence, previous)) = self.first.take() {
            let is_explained = sequence == 1
                || self.expired.iter().any(|expired| {
                    expired.last_sequence + 1 == sequence && expired.last_hash == previous
                });
            if !is_explained {
                let what = format!(
                    "the log begins with line {sequence}, and no expired file ended before it"
                );
                self.fault(oldest, Some(1), what);
            }
            self.report.first = sequence;
        }
        if let Some(last) = &self.before {
            self.report.last = last.sequence;
            self.report.hash.clone_from(&last.hash);
        }
        let end = super::file::head_path(path);
        match head {
            Err(error) => self.fault(&end, None, format!("the head cannot be read: {error}")),
            Ok(None) => {
                let what = "the head is missing: lines may be missing at the end of the log";
                self.fault(&end, None, what.to_owned());
            }
            Ok(Some(head)) if !self.head_seen => {
                let what = format!(
                    "line {} with the hash {} was written, but is not in the log",
                    head.sequence, head.hash
                );
                self.fault(&end, None, what);
            }
            Ok(_) => {}
        }
        Ok(self.report)
    }

    fn fault(&mut self, file: &Path, line: Option<u64>, what: String) {
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(Fault {
                file: file.to_owned(),
                line,
                what,
            });
        }
    }
}
