//! The files of the audit log: appended to, rotated every day, removed when they expire.
//!
//! A small head file next to the log contains the number and hash of its last line, so that lines missing at the end
//! are detected as well. It is written after the lines are on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chain::{AuditEntry, ChainHead, ChainLink, ExpiredFile};
use crate::ecs;
use crate::file_lock;
use crate::rotated;

/// A file is rotated at this age, so that old lines can be removed, or at `ROTATE_AT_BYTES`.
const ROTATE_AFTER: Duration = Duration::from_secs(24 * 3600);
const ROTATE_AT_BYTES: u64 = 64 * 1024 * 1024;
/// How often expired files are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// The open log.
#[derive(Debug)]
pub(super) struct AuditLog {
    path: PathBuf,
    keep: Duration,
    head: ChainHead,
    /// When the current file was started, as far as this process knows.
    begun_at: Duration,
    swept_at: Duration,
    /// Prevents two processes from continuing the same chain.
    _lock: File,
}

/// The head file of the log at `path`.
pub(super) fn head_path(path: &Path) -> PathBuf {
    beside(path, ".head")
}

/// A file that belongs to the log at `path`: its name with a suffix.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(end);
    path.with_file_name(name)
}

/// The files of the log at `path`, from the oldest.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(rotated::directory(path))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| {
            let name = file.file_name().unwrap_or_default();
            rotated::rotated_at(path, name).is_some()
        })
        .collect();
    // Sorting by name sorts by time.
    files.sort();
    if path.exists() {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// Reads the head file.
pub(super) fn read_head(path: &Path) -> io::Result<Option<ChainHead>> {
    match fs::read(head_path(path)) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl AuditLog {
    /// Opens the log to append to it. An incomplete last line after a crash is removed, and the removal is logged in
    /// the log itself. `now` is the time since the Unix epoch.
    ///
    /// # Errors
    /// When a file cannot be read or written, or another process holds the lock of the log.
    pub(super) fn open(path: &Path, keep: Duration, now: Duration) -> io::Result<Self> {
        fs::create_dir_all(rotated::directory(path))?;
        let lock = file_lock::take(&beside(path, ".lock"))?;
        let cut_bytes = cut_torn_line(path)?;
        let written = read_head(path).unwrap_or_else(|error| {
            log::error!("audit: cannot read the head: {error}");
            None
        });
        let mut head_is_missing = false;
        let last = files(path)?
            .iter()
            .rev()
            .find_map(|file| last_link(file).transpose());
        let last = last.transpose()?.map(|link| link.head());
        let head = match (last, written) {
            // The head lags behind after a crash between the writes of a line and of the head.
            (Some(last), Some(written)) if last.sequence >= written.sequence => last,
            (Some(last), None) => {
                head_is_missing = true;
                last
            }
            (last, Some(written)) => {
                let found = last.map_or(0, |last| last.sequence);
                log::error!(
                    "audit: lines {} to {} are missing at the end of {}",
                    found + 1,
                    written.sequence,
                    path.display()
                );
                written
            }
            (None, None) => ChainHead::start(),
        };
        let mut log = AuditLog {
            path: path.to_owned(),
            keep,
            head,
            begun_at: first_written_at(path).unwrap_or(now),
            swept_at: Duration::ZERO,
            _lock: lock,
        };
        if head_is_missing {
            log::error!(
                "audit: {} is missing: lines may be missing at the end of the log",
                head_path(path).display()
            );
            log.append(&[AuditEntry::headless()], now)?;
        }
        if cut_bytes > 0 {
            log.append(&[AuditEntry::recovered(cut_bytes)], now)?;
        }
        log.sweep(now);
        Ok(log)
    }

    /// Appends entries and syncs them to disk.
    ///
    /// # Errors
    /// When that fails; then none of them is written, and the chain is unchanged.
    pub(super) fn append(&mut self, entries: &[AuditEntry], now: Duration) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let timestamp = ecs::timestamp(now);
        let (mut text, mut head) = (String::new(), self.head.clone());
        for entry in entries {
            let (line, next) = head.chain(entry, &timestamp)?;
            text.push_str(&line);
            head = next;
        }
        self.rotate_when_due(now)?;
        let mut file = open(&self.path)?;
        let before = file.metadata()?.len();
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // A partial write would break the chain for the next lines.
            file.set_len(before)?;
            return Err(error);
        }
        self.head = head;
        // The lines are written: a head that lags behind is not a fault.
        if let Err(error) = self.write_head() {
            log::warn!("audit: cannot write the head: {error}");
        }
        Ok(())
    }

    fn write_head(&self) -> io::Result<()> {
        let path = head_path(&self.path);
        let next = path.with_extension("head.next");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&next)?;
        serde_json::to_writer(&file, &self.head)?;
        file.write_all(b"\n")?;
        file.sync_data()?;
        fs::rename(next, path)
    }

    fn rotate_when_due(&mut self, now: Duration) -> io::Result<()> {
        let Ok(metadata) = fs::metadata(&self.path) else {
            self.begun_at = now;
            return Ok(());
        };
        let is_old = now.saturating_sub(self.begun_at) >= ROTATE_AFTER;
        if metadata.len() > 0 && (is_old || metadata.len() >= ROTATE_AT_BYTES) {
            fs::rename(&self.path, rotated::free_name(&self.path, now)?)?;
            self.begun_at = now;
        }
        Ok(())
    }

    /// Removes expired files after logging the last line of each in the log.
    pub(super) fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept_at) < SWEEP_INTERVAL {
            return;
        }
        self.swept_at = now;
        if let Err(error) = self.remove_old(now) {
            log::warn!("audit: cannot remove expired files: {error}");
        }
    }

    fn remove_old(&mut self, now: Duration) -> io::Result<()> {
        let oldest_kept = rotated::stamp(now.saturating_sub(self.keep));
        for file in files(&self.path)? {
            let name = file.file_name().unwrap_or_default();
            let is_old = rotated::rotated_at(&self.path, name).is_some_and(|at| at < oldest_kept);
            if !is_old {
                continue;
            }
            if let Some(last) = last_link(&file)? {
                let expired = ExpiredFile {
                    file: name.to_string_lossy().into_owned(),
                    last_sequence: last.sequence,
                    last_hash: last.hash,
                };
                self.append(&[AuditEntry::expired(expired)], now)?;
            }
            fs::remove_file(file)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(path)
}

/// Removes an incomplete last line. Returns its length.
fn cut_torn_line(path: &Path) -> io::Result<u64> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    let tail = tail(&mut file, length)?;
    let torn = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => tail.len() - newline - 1,
        None => tail.len(),
    } as u64;
    let is_whole = std::str::from_utf8(&tail[tail.len() - torn as usize..])
        .is_ok_and(|line| ChainLink::read(line).is_ok());
    if is_whole {
        // Only its newline is missing.
        file.write_all(b"\n")?;
        return Ok(0);
    }
    if torn > 0 {
        file.set_len(length - torn)?;
    }
    Ok(torn)
}

/// The last valid line of a file. Without one, the chain continues from the head, and `weir audit verify` reports
/// the fault.
fn last_link(path: &Path) -> io::Result<Option<ChainLink>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail = tail(&mut file, length)?;
    let text = String::from_utf8_lossy(&tail);
    let mut lines = text.lines().rev();
    Ok(lines.find_map(|line| ChainLink::read(line).ok()))
}

/// The end of a file, far longer than a line.
fn tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    const TAIL_BYTES: u64 = 64 * 1024;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(tail)
}

/// When the first line of a file was written.
fn first_written_at(path: &Path) -> Option<Duration> {
    #[derive(serde::Deserialize)]
    struct Written {
        #[serde(rename = "@timestamp")]
        timestamp: String,
    }
    let mut head = Vec::new();
    File::open(path)
        .ok()?
        .take(64 * 1024)
        .read_to_end(&mut head)
        .ok()?;
    let line = head.split(|byte| *byte == b'\n').next()?;
    let written: Written = serde_json::from_slice(line).ok()?;
    let at: jiff::Timestamp = written.timestamp.parse().ok()?;
    u64::try_from(at.as_microsecond())
        .ok()
        .map(Duration::from_micros)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
