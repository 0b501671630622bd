//! The names of rotated files: `events-20261122T083000.123Z.ndjson` for `events.ndjson`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

/// `20261122T083000.123Z`: sorts by time as text.
const STAMP: &str = "%Y%m%dT%H%M%S.%3fZ";
const STAMP_SHAPE: &str = "00000000T000000.000Z";

/// An unused name for the file at `path` when it is rotated at `now`, since the Unix epoch.
///
/// # Errors
/// When 10,000 names are taken.
pub(crate) fn free_name(path: &Path, now: Duration) -> io::Result<PathBuf> {
    // A name is taken if the file was rotated twice in a millisecond.
    (0..10_000)
        .map(|later_ms| rotated_name(path, now + Duration::from_millis(later_ms)))
        .find(|path| !path.exists())
        .ok_or_else(|| io::Error::other("no free name for the rotated file"))
}

fn rotated_name(path: &Path, at: Duration) -> PathBuf {
    let (mut name, suffix) = affixes(path);
    name.push(stamp(at));
    name.push(suffix);
    path.with_file_name(name)
}

/// The directory of a file.
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The parts of the name of a rotated file before and after the stamp.
fn affixes(path: &Path) -> (OsString, OsString) {
    let mut prefix = path.file_stem().unwrap_or_default().to_owned();
    prefix.push("-");
    let mut suffix = OsString::new();
    if let Some(extension) = path.extension() {
        suffix.push(".");
        suffix.push(extension);
    }
    (prefix, suffix)
}

/// The stamp in the name of a file that was rotated from `path`; `None` for every other name.
pub(crate) fn rotated_at(path: &Path, name: &std::ffi::OsStr) -> Option<String> {
    let (prefix, suffix) = affixes(path);
    let stamp = name
        .to_str()?
        .strip_prefix(prefix.to_str()?)?
        .strip_suffix(suffix.to_str()?)?;
    let is_stamp = stamp.len() == STAMP_SHAPE.len()
        && stamp
            .bytes()
            .zip(STAMP_SHAPE.bytes())
            .all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            });
    is_stamp.then(|| stamp.to_owned())
}

/// The stamp of a time.
pub(crate) fn stamp(since_epoch: Duration) -> String {
    i64::try_from(since_epoch.as_millis())
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .strftime(STAMP)
        .to_string()
}
