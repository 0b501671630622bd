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
    /// How many lines were changed, inserted or cut.
    pub changed: u64,
    /// How many lines are missing.
    pub missing: u64,
    pub faults: Vec<Fault>,
}

/// The summary: `intact: 9 lines in 1 file (1 to 9), last hash ...`.
impl fmt::Display for VerifyReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = |count: u64| match count {
            1 => "1 line".to_owned(),
            count => format!("{count} lines"),
        };
        match (self.faults.is_empty(), self.changed, self.missing) {
            (true, ..) => write!(formatter, "intact: ")?,
            (false, 0, 0) => write!(formatter, "corrupt: no valid head; ")?,
            (false, changed, missing) => {
                let changed = lines(changed);
                write!(formatter, "corrupt: {changed} changed, {missing} missing; ")?;
            }
        }
        let files = if self.files == 1 { "file" } else { "files" };
        let (count, first, last, hash) = (lines(self.lines), self.first, self.last, &self.hash);
        write!(formatter, "{count} in {} {files}", self.files)?;
        write!(formatter, " ({first} to {last}), last hash {hash}")
    }
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
    let report = verify_once(path).map_err(named)?;
    // A rotation during verification can look like a fault, but not twice.
    match report.faults.is_empty() {
        true => Ok(report),
        false => verify_once(path).map_err(named),
    }
}

/// Names a missing file as all commands do.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, "no such file"),
        _ => error,
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
        unverified: 0,
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
    /// The last valid line.
    before: Option<ChainHead>,
    /// How many changed lines follow it: their own sequence numbers cannot be trusted.
    unverified: u64,
    /// The content of the head file.
    recorded: Option<ChainHead>,
    head_seen: bool,
    /// The number of the first line, and the hash before it unless that line was changed.
    first: Option<(u64, Option<String>)>,
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
            self.report.lines += 1;
            let link = ChainLink::read(text.trim_end_matches('\n'));
            let invalid = match &link {
                _ if !text.ends_with('\n') => {
                    Some("this line has no newline: the rest of it is missing".to_owned())
                }
                Ok(_) => None,
                Err(invalid) => Some(invalid.to_string()),
            };
            if let Some(what) = invalid {
                self.report.changed += 1;
                self.fault(path, Some(number), what);
            }
            match link {
                Ok(link) => self.line(path, number, link),
                Err(_) => self.unverified += 1,
            }
        }
    }

    /// A line that matches its own hash.
    fn line(&mut self, path: &Path, number: u64, link: ChainLink) {
        let sequence = link.sequence;
        // Each changed line since the last valid one stands for one number.
        let unverified = std::mem::take(&mut self.unverified);
        match &self.before {
            None => {
                let previous = (unverified == 0).then(|| link.previous.clone());
                self.first = Some((sequence.saturating_sub(unverified), previous));
            }
            Some(before) => {
                if let Some(what) = self.gap(before.clone(), unverified, &link) {
                    self.fault(path, Some(number), what);
                }
            }
        }
        let head = link.head();
        self.head_seen |= self.recorded.as_ref() == Some(&head);
        self.before = Some(head);
        self.expired.extend(link.expired);
    }

    /// What is wrong between the last valid line and this one, apart from changed lines, which have been reported.
    fn gap(&mut self, before: ChainHead, unverified: u64, link: &ChainLink) -> Option<String> {
        let (last, sequence) = (before.sequence, link.sequence);
        if sequence <= last {
            self.report.changed += 1;
            return Some(format!(
                "this is line {sequence}, but it follows line {last}"
            ));
        }
        let missing = (sequence - last - 1).saturating_sub(unverified);
        if missing > 0 {
            self.report.missing += missing;
            return Some(match (missing, unverified) {
                (1, 0) => format!("line {} is missing before this one", last + 1),
                (_, 0) => format!(
                    "lines {} to {} are missing before this one",
                    last + 1,
                    sequence - 1
                ),
                (1, _) => "one more line is missing before this one".to_owned(),
                (more, _) => format!("{more} more lines are missing before this one"),
            });
        }
        if sequence == last + 1 && before.hash != link.previous {
            self.report.changed += 1;
            return Some(format!(
                "this line does not match the one before: line {last} was rewritten"
            ));
        }
        None
    }

    fn finish(
        mut self,
        path: &Path,
        oldest: &Path,
        head: io::Result<Option<ChainHead>>,
    ) -> io::Result<VerifyReport> {
        if let Some((sequence, previous)) = self.first.take() {
            let is_explained = sequence <= 1
                || self.expired.iter().any(|expired| {
                    let is_next = expired.last_sequence + 1 == sequence;
                    is_next
                        && previous
                            .as_ref()
                            .is_none_or(|hash| *hash == expired.last_hash)
                });
            if !is_explained {
                let ends = self.expired.iter().map(|expired| expired.last_sequence);
                let end = ends.filter(|end| *end < sequence).max().unwrap_or(0);
                self.report.missing += (sequence - 1).saturating_sub(end);
                let what = format!(
                    "the log begins with line {sequence}, and no expired file ended before it"
                );
                self.fault(oldest, Some(1), what);
            }
            self.report.first = sequence;
        }
        if let Some(last) = &self.before {
            self.report.last = last.sequence + self.unverified;
            self.report.hash.clone_from(&last.hash);
        }
        // The recorded end may be one of the changed lines at the end.
        let valid = self.before.as_ref().map_or(0, |last| last.sequence);
        let end_number = valid + self.unverified;
        let end = super::file::head_path(path);
        match head {
            Err(error) => self.fault(&end, None, format!("the head cannot be read: {error}")),
            Ok(None) => {
                let what = "the head is missing: lines may be missing at the end of the log";
                self.fault(&end, None, what.to_owned());
            }
            Ok(Some(head)) if head.sequence > valid && head.sequence <= end_number => {}
            Ok(Some(head)) if !self.head_seen => {
                match head.sequence.checked_sub(end_number) {
                    Some(missing @ 1..) => self.report.missing += missing,
                    _ => self.report.changed += 1,
                }
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
