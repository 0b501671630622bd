//! The dead-letter file: events that the index permanently rejected, each with the reason.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;

use super::spool::Spooled;

/// A larger file is rotated; the rotated file replaces the previous one.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The dead-letter file.
#[derive(Debug)]
pub(super) struct DeadLetters {
    path: PathBuf,
}

#[derive(Serialize)]
struct DeadLetter<'a> {
    status: u16,
    reason: &'a str,
    /// The event itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl DeadLetters {
    pub(super) fn new(directory: &Path) -> Self {
        DeadLetters {
            path: directory.join("dead-letter.ndjson"),
        }
    }

    /// Appends events with their statuses and reasons, and syncs them to disk.
    ///
    /// # Errors
    /// When that fails; then the events must not be acknowledged.
    pub(super) fn append<'e>(
        &self,
        rejected: impl Iterator<Item = (&'e Spooled, u16, &'e str)>,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        for (event, status, reason) in rejected {
            let raw: Option<&RawValue> = serde_json::from_slice(&event.line).ok();
            let text = raw
                .is_none()
                .then(|| String::from_utf8_lossy(&event.line).into_owned());
            let letter = DeadLetter {
                status,
                reason,
                event: raw,
                text,
            };
            serde_json::to_writer(&mut lines, &letter)?;
            lines.push(b'\n');
        }
        let mut file = self.open()?;
        if file.metadata()?.len() > BYTES_MAX {
            fs::rename(&self.path, self.path.with_extension("ndjson.1"))?;
            file = self.open()?;
        }
        let before = file.metadata()?.len();
        let written = file.write_all(&lines).and_then(|()| file.sync_data());
        if written.is_err() {
            // The events will be rejected and written again: remove what this attempt wrote.
            file.set_len(before)?;
        }
        written
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ship::dataset::Dataset;

    #[test]
    fn a_rejected_event_is_written_with_its_reason() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let letters = DeadLetters::new(directory.path());
        let event = |line: &str| Spooled {
            number: 1,
            dataset: Dataset::Access,
            id: [b'0'; 26],
            line: line.as_bytes().into(),
        };
        let (good, bad) = (event("{\"a\":[1.50]}"), event("no JSON \""));
        let both = [(&good, 400, "bad date"), (&bad, 404, "x")];
        letters.append(both.into_iter()).expect("written");
        letters.append(both[..1].iter().copied()).expect("written");
        let text = fs::read_to_string(directory.path().join("dead-letter.ndjson")).expect("text");
        let first = "{\"status\":400,\"reason\":\"bad date\",\"event\":{\"a\":[1.50]}}\n";
        let second = "{\"status\":404,\"reason\":\"x\",\"text\":\"no JSON \\\"\"}\n";
        assert_eq!(text, format!("{first}{second}{first}"));
    }
}
