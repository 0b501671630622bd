//! Recovers the directory of the spool at startup, whatever state a kill left it in.
//!
//! No content of the directory prevents the start: a torn tail is truncated, acknowledged segments are removed, and
//! an unreadable segment is moved aside.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format::{self, SegmentVersion};
use crate::ship::dataset::Dataset;

/// How many names are tried for a file that is moved aside.
const ASIDE_MAX: usize = 1000;

/// One segment: the events `first..end`.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) version: SegmentVersion,
    /// The length of the valid part of the file.
    pub(super) bytes: u64,
    /// The share of alert transitions in `bytes`.
    pub(super) alert_bytes: u64,
    pub(super) path: PathBuf,
}

/// The content of the directory.
#[derive(Debug)]
pub(super) struct RecoveredSpool {
    /// In order, without overlaps.
    pub(super) segments: VecDeque<Segment>,
    /// The first event that is not known to be in the index.
    pub(super) next: u64,
    /// The generation of the cursor.
    pub(super) generation: u64,
    /// The numbers of the alert transitions that are not known to be in the index.
    pub(super) alerts: BTreeSet<u64>,
    /// When events were recorded: numbers and times, about one per second.
    pub(super) marks: VecDeque<(u64, Duration)>,
}

pub(super) fn segment_path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.seg"))
}

pub(super) fn cursor_path(directory: &Path) -> PathBuf {
    directory.join("cursor")
}

/// Reads the directory.
///
/// # Errors
/// When the directory itself cannot be read.
pub(super) fn recover(directory: &Path) -> io::Result<RecoveredSpool> {
    let cursor = fs::read(cursor_path(directory)).unwrap_or_default();
    let (generation, acknowledged) = format::cursor(&cursor).unwrap_or((0, 0));
    let mut firsts: Vec<u64> = fs::read_dir(directory)?
        .filter_map(|entry| number_of(&entry.ok()?.path()))
        .collect();
    firsts.sort_unstable();
    let mut found = RecoveredSpool {
        segments: VecDeque::new(),
        next: acknowledged,
        generation,
        alerts: BTreeSet::new(),
        marks: VecDeque::new(),
    };
    for first in firsts {
        let path = segment_path(directory, first);
        let overlaps = found.segments.back().is_some_and(|last| first < last.end);
        let read = match overlaps {
            true => Err(io::Error::other("it overlaps the segment before it")),
            false => read_segment(&path, first, &mut found),
        };
        match read {
            Ok(segment) if segment.end <= acknowledged || segment.end == segment.first => {
                remove(&segment.path);
            }
            Ok(segment) => found.segments.push_back(segment),
            Err(error) => set_aside(&path, &error),
        }
    }
    if let Some(oldest) = found.segments.front() {
        found.next = found.next.max(oldest.first);
    }
    let next = found.next;
    found.alerts = found.alerts.split_off(&next);
    while found
        .marks
        .get(1)
        .is_some_and(|(number, _)| *number <= next)
    {
        found.marks.pop_front();
    }
    Ok(found)
}

fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(".seg")?;
    let first: u64 = digits.parse().ok()?;
    (digits.len() == 20 && first <= format::NUMBER_MAX).then_some(first)
}

/// Reads a whole segment, and truncates it where it is damaged.
fn read_segment(path: &Path, first: u64, found: &mut RecoveredSpool) -> io::Result<Segment> {
    let mut bytes = Vec::new();
    // Opening or reading a pipe would block.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    File::open(path)?.read_to_end(&mut bytes)?;
    let version = format::version(&bytes, first);
    if version.is_none() {
        // A kill between the creation of the file and its first write leaves less than a header.
        if bytes.len() >= format::HEADER_BYTES {
            return Err(io::Error::other("it has no segment header"));
        }
        bytes.clear();
    }
    let version = version.unwrap_or(SegmentVersion::Two);
    let (mut end, mut alert_bytes) = (first, 0);
    let mut good = bytes.len().min(format::HEADER_BYTES);
    loop {
        let rest = &bytes[good..];
        if let Some(entry) = format::read(version, rest, end) {
            mark(&mut found.marks, end, format::recorded_at(entry.id));
            if entry.dataset == Dataset::Alert {
                alert_bytes += entry.bytes as u64;
                found.alerts.insert(end);
            }
            good += entry.bytes;
        } else if let Some(length) = format::damaged(version, rest, end) {
            // The reader detects and counts it.
            good += length;
        } else {
            break;
        }
        end += 1;
    }
    if good < bytes.len() {
        let cut = bytes.len() - good;
        log::warn!(
            "spool: removing {cut} damaged bytes at the end of {}",
            path.display()
        );
        OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(good as u64)?;
    }
    Ok(Segment {
        first,
        end,
        version,
        bytes: good as u64,
        alert_bytes,
        path: path.to_owned(),
    })
}

/// Notes when an event was recorded, at most once per second.
pub(super) fn mark(marks: &mut VecDeque<(u64, Duration)>, number: u64, at: Duration) {
    let due = marks
        .back()
        .is_none_or(|(_, last)| at >= *last + Duration::from_secs(1));
    if due {
        marks.push_back((number, at));
    }
}

pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        log::warn!("spool: cannot remove {}: {error}", path.display());
    }
}

pub(super) fn set_aside(path: &Path, why: &io::Error) {
    let is_free = |aside: &PathBuf| fs::symlink_metadata(aside).is_err();
    let names = (1..).map(|number| path.with_extension(format!("bad.{number}")));
    let aside = std::iter::once(path.with_extension("bad")).chain(names);
    let Some(aside) = aside.take(ASIDE_MAX).find(is_free) else {
        log::error!("spool: {} cannot be read: {why}", path.display());
        return;
    };
    log::error!(
        "spool: {} cannot be read ({why}); moving it to {}",
        path.display(),
        aside.display()
    );
    if let Err(error) = fs::rename(path, &aside) {
        log::error!("spool: cannot move {}: {error}", path.display());
    }
}
