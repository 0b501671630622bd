//! The event file: complete lines only, rotated by size; expired rotated files are removed.
//!
//! Other programs (logrotate) may move or truncate the file at any time: its path is checked before each write, and
//! the file is reopened if the path names another file. During an upgrade two processes append to it; only one of them
//! rotates it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::FileConfig;
use super::batch::BatchLines;
use super::sink::{LineSink, WriteOutcome};
use crate::handover_flag::HandoverFlag;
use crate::rotated::{self, directory, rotated_at, stamp};

/// How often expired rotated files are removed while events are written.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// How often a file that ends within a line is looked at again, in case that another process is writing.
const WRITE_ATTEMPTS: u32 = 3;
const WRITE_PAUSE: Duration = Duration::from_millis(5);

/// The sink that writes to a file.
#[derive(Debug)]
pub(super) struct EventFile {
    config: FileConfig,
    /// `None` after an error: the next write reopens it.
    file: Option<File>,
    swept_at: Duration,
    /// Set while another process rotates the file.
    handed_over: Arc<HandoverFlag>,
}

impl EventFile {
    /// Opens the file to append to it, and creates its directory. `now` is the time since the Unix epoch.
    ///
    /// # Errors
    /// When the directory cannot be created or the file cannot be opened; the message names the path.
    pub(super) fn open(
        config: &FileConfig,
        now: Duration,
        handed_over: Arc<HandoverFlag>,
    ) -> io::Result<Self> {
        let file = open(&config.path).map_err(|error| {
            let path = config.path.display();
            io::Error::new(
                error.kind(),
                format!("events.file.path: cannot open {path}: {error}"),
            )
        })?;
        let mut event_file = EventFile {
            config: config.clone(),
            file: Some(file),
            swept_at: now,
            handed_over,
        };
        event_file.sweep(now);
        Ok(event_file)
    }

    /// The file at the path, reopened if necessary, and its length.
    fn current(&mut self) -> io::Result<(&mut File, u64)> {
        let named = fs::metadata(&self.config.path).ok();
        let is_same = match (&self.file, &named) {
            (Some(file), Some(named)) => {
                let open = file.metadata()?;
                (open.dev(), open.ino()) == (named.dev(), named.ino())
            }
            _ => false,
        };
        if !is_same {
            self.file = None;
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.config.path)?,
        };
        let length = file.metadata()?.len();
        Ok((self.file.insert(file), length))
    }

    /// Writes the lines, rotating files as needed. Returns how many were written, and the error that stopped the rest.
    fn write_rotating(
        &mut self,
        mut lines: BatchLines<'_>,
        now: Duration,
    ) -> (usize, io::Result<()>) {
        let mut written = 0;
        while lines.count() > 0 {
            let rotate_at_bytes = self.config.rotate_at_bytes;
            let handed_over = self.handed_over.is_set();
            let (file, length) = match self.current() {
                Ok(current) => current,
                Err(error) => return (written, Err(error)),
            };
            let (_, fitting) = match handed_over {
                true => (0, lines.count()),
                false => lines.fitting(rotate_at_bytes.saturating_sub(length)),
            };
            if fitting == 0 && length > 0 {
                if let Err(error) = self.rotate(now) {
                    return (written, Err(error));
                }
                continue;
            }
            // A line that is longer than a whole file gets a file of its own.
            let (head, tail) = lines.split(fitting.max(1));
            let (count, outcome) = write_whole_lines(file, head);
            written += count;
            if outcome.is_err() {
                return (written, outcome);
            }
            lines = tail;
        }
        (written, Ok(()))
    }

    fn rotate(&mut self, now: Duration) -> io::Result<()> {
        self.file = None;
        let target = rotated::free_name(&self.config.path, now)?;
        fs::rename(&self.config.path, target)?;
        self.sweep(now);
        Ok(())
    }

    /// Removes expired rotated files.
    fn sweep(&mut self, now: Duration) {
        self.swept_at = now;
        let oldest_kept = stamp(now.saturating_sub(self.config.keep));
        let Ok(entries) = fs::read_dir(directory(&self.config.path)) else {
            return;
        };
        for entry in entries.flatten() {
            let is_old = rotated_at(&self.config.path, &entry.file_name())
                .is_some_and(|stamp| stamp < oldest_kept);
            if is_old && let Err(error) = fs::remove_file(entry.path()) {
                log::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }
}

impl LineSink for EventFile {
    fn write(&mut self, lines: BatchLines<'_>, now: Duration) -> WriteOutcome {
        let is_due = now.saturating_sub(self.swept_at) >= SWEEP_INTERVAL;
        if is_due && !self.handed_over.is_set() {
            self.sweep(now);
        }
        let (lines, outcome) = self.write_rotating(lines, now);
        let error = outcome.err().map(|error| {
            self.file = None;
            let path = self.config.path.display();
            io::Error::new(error.kind(), format!("{path}: {error}"))
        });
        WriteOutcome { lines, error }
    }

    fn sync(&mut self) {
        if let Some(file) = &self.file
            && let Err(error) = file.sync_data()
        {
            log::warn!("cannot sync {}: {error}", self.config.path.display());
        }
    }
}

/// The sink that writes to the standard output.
#[derive(Debug)]
pub(super) struct Stdout {
    file: File,
    /// Whether an error left an incomplete line.
    is_torn: bool,
}

impl Stdout {
    /// # Errors
    /// When there is no standard output to write to.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Stdout {
            // Unbuffered: each batch is written at once.
            file: File::from(io::stdout().as_fd().try_clone_to_owned()?),
            is_torn: false,
        })
    }
}

impl LineSink for Stdout {
    fn write(&mut self, lines: BatchLines<'_>, _now: Duration) -> WriteOutcome {
        if self.is_torn && self.file.write_all(b"\n").is_ok() {
            self.is_torn = false;
        }
        let (bytes, outcome) = write_bytes(&mut self.file, lines.bytes());
        let (whole_bytes, whole) = lines.fitting(bytes as u64);
        self.is_torn |= whole_bytes < bytes;
        WriteOutcome {
            lines: whole,
            error: outcome.err(),
        }
    }
}

/// Opens a file to append to it. An incomplete line after a crash is ended with a newline, so that it does not damage
/// the next line.
fn open(path: &Path) -> io::Result<File> {
    fs::create_dir_all(directory(path))?;
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(path)?;
    // A pipe or a device has no end to check.
    if file.metadata()?.is_file() && file.metadata()?.len() > 0 {
        let mut is_torn = is_torn(&mut file)?;
        // Another process may be in the middle of a write: see `handed_over`.
        for _ in 0..WRITE_ATTEMPTS {
            if !is_torn {
                return Ok(file);
            }
            std::thread::sleep(WRITE_PAUSE);
            is_torn = self::is_torn(&mut file)?;
        }
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether a file that is not empty ends within a line.
fn is_torn(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Appends lines; after an error, the incomplete line is removed. Returns how many lines were written.
fn write_whole_lines(file: &mut File, lines: BatchLines<'_>) -> (usize, io::Result<()>) {
    let (bytes, outcome) = write_bytes(file, lines.bytes());
    let (whole_bytes, whole) = lines.fitting(bytes as u64);
    if whole_bytes < bytes
        && let Err(error) = truncate_by(file, (bytes - whole_bytes) as u64)
    {
        // The next `open` adds the missing newline.
        log::warn!("cannot remove an incomplete event: {error}");
    }
    (whole, outcome)
}

/// Removes the last bytes of a file.
fn truncate_by(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(file.metadata()?.len().saturating_sub(bytes))
}

/// Writes as many bytes as possible. Returns how many.
fn write_bytes(target: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match target.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
