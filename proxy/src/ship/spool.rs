//! The spool (write-ahead log) of events that are not in the index yet: segments on disk, in the order in which
//! events were recorded.
//!
//! The writers of events and of alert transitions append, the shipper reads and acknowledges. No request waits for
//! it. The format is described in `spool/format.rs`. A kill at any moment loses no event older than `sync`; events
//! acknowledged after the last sync are sent again and recognized as duplicates (idempotency).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::dataset::{Dataset, PerDataset};
use super::ledger::Ledger;
use crate::file_lock;
use acks::Acks;
use inner::{SpoolState, Unsynced};
use recovery::Segment;

mod acks;
mod append;
pub(crate) mod format;
mod inner;
mod reader;
mod recovery;
mod relocation;
#[cfg(test)]
mod tests;

pub use format::ID_BYTES;
pub use reader::{SpoolRead, SpoolReader};

/// The checked `spool` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub path: PathBuf,
    /// The maximum size of request events.
    pub bytes_max: u64,
    /// The longest time until an event is durable.
    pub sync: Duration,
}

/// A segment takes a sixteenth of `bytes_max`, within these bounds.
const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
const SEGMENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The maximum size of alert transitions, in addition to `bytes_max`: neither dataset takes the room of the other.
const ALERT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// An event read from the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Its position, counted from the first event that the spool ever held.
    pub number: u64,
    pub dataset: Dataset,
    /// Its ULID.
    pub id: [u8; ID_BYTES],
    /// JSON, without a line end.
    pub line: Box<[u8]>,
}

/// The spool of one process.
#[derive(Debug)]
pub struct Spool {
    /// Held during writes: locking it may wait for the disk.
    inner: Mutex<SpoolState>,
    /// Held only briefly.
    gauges: Mutex<SpoolGauges>,
    config: Config,
    segment_bytes: u64,
    /// Notified when there is something to read.
    pub arrived: Notify,
    ledgers: PerDataset<Ledger>,
}

/// The state that metrics and alerts read.
#[derive(Debug, Default)]
struct SpoolGauges {
    bytes: PerDataset<u64>,
    oldest_at: Option<Duration>,
}

/// Opens the cursor file; anything else at its path is moved aside.
fn open_cursor(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        recovery::set_aside(path, &io::Error::other("it is not a file"));
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

impl Spool {
    /// Opens the directory and recovers its events. Returns the spool, a reader, and the number of events.
    ///
    /// # Errors
    /// When the directory cannot be created or read, or another process holds its lock.
    pub fn open(
        config: &Config,
        ledgers: &PerDataset<Ledger>,
    ) -> io::Result<(Arc<Self>, SpoolReader, u64)> {
        let directory = &config.path;
        fs::create_dir_all(directory)?;
        let lock = file_lock::take(&directory.join("lock"))?;
        let found = recovery::recover(directory)?;
        let cursor = open_cursor(&recovery::cursor_path(directory))?;
        let end = found.segments.back().map_or(found.next, |last| last.end);
        let events = found.segments.iter();
        let events = events.map(|segment| segment.end - segment.first.max(found.next));
        let count: u64 = events.sum();
        let alerts = found.alerts.len() as u64;
        ledgers.access.recover(count.saturating_sub(alerts));
        ledgers.alert.recover(alerts);
        let mut acks = Acks::new(found.next);
        // Events between two segments are lost: nothing will acknowledge them.
        let mut behind = found.next;
        for segment in &found.segments {
            acks.done(behind, segment.first);
            behind = segment.end;
        }
        let reader = SpoolReader::at(acks.next());
        let spool = Spool {
            inner: Mutex::new(SpoolState {
                directory: directory.clone(),
                locks: vec![lock],
                segments: found.segments,
                active: None,
                end,
                acks,
                alerts: found.alerts,
                appended: PerDataset::default(),
                marks: found.marks,
                cursor,
                generation: found.generation,
                saved: found.next,
                unsynced: Unsynced::Nothing,
                buffer: Vec::new(),
            }),
            gauges: Mutex::default(),
            segment_bytes: (config.bytes_max / 16).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            config: config.clone(),
            arrived: Notify::new(),
            ledgers: ledgers.clone(),
        };
        spool.publish(&spool.inner.lock());
        Ok((Arc::new(spool), reader, count))
    }

    /// Acknowledges the events `first..end`, and removes the segments that are done. Returns how many of them were
    /// not acknowledged before.
    pub fn acknowledge(&self, first: u64, end: u64) -> PerDataset<u64> {
        let mut inner = self.inner.lock();
        let news = inner.settle(first, end);
        self.remove_done(&mut inner);
        self.publish(&inner);
        news
    }

    fn remove_done(&self, inner: &mut SpoolState) {
        let next = inner.acks.next();
        let is_full = |last: &Segment| last.bytes >= self.segment_bytes;
        while let Some(oldest) = inner.segments.front() {
            let is_last = inner.segments.len() == 1;
            if oldest.end > next || (is_last && inner.active.is_some() && !is_full(oldest)) {
                break;
            }
            if is_last {
                inner.active = None;
            }
            if let Some(done) = inner.segments.pop_front() {
                recovery::remove(&done.path);
            }
        }
        let is_before = |(number, _): &(u64, Duration)| *number <= next;
        while inner.marks.get(1).is_some_and(is_before) {
            inner.marks.pop_front();
        }
    }

    /// Syncs appended events and the cursor to disk.
    ///
    /// # Errors
    /// When the disk rejects it; the next call retries.
    pub fn sync(&self) -> io::Result<()> {
        let (active, cursor) = {
            let mut inner = self.inner.lock();
            let active = match inner.unsynced {
                Unsynced::Events => inner.active.clone(),
                Unsynced::Nothing => None,
            };
            inner.unsynced = Unsynced::Nothing;
            (active, inner.write_cursor())
        };
        let synced = active.map_or(Ok(()), |file| file.sync_data());
        if synced.is_err() {
            self.inner.lock().unsynced = Unsynced::Events;
        }
        let saved = cursor.and_then(|file| file.map_or(Ok(()), |file| file.sync_data()));
        synced.and(saved)
    }

    /// How many events of a dataset were appended since the spool was opened.
    #[must_use]
    pub fn appended(&self, dataset: Dataset) -> u64 {
        *self.inner.lock().appended.of(dataset)
    }

    /// A reader that starts at the first event that is not acknowledged.
    #[must_use]
    pub fn reader(&self) -> SpoolReader {
        SpoolReader::at(self.inner.lock().acks.next())
    }

    /// The size of the segments on disk, as of the last completed write. Never waits for the disk.
    #[must_use]
    pub fn bytes(&self) -> PerDataset<u64> {
        self.gauges.lock().bytes.clone()
    }

    /// When the oldest unacknowledged event was recorded, to the second; `None` if all are acknowledged. As of the
    /// last completed write. Never waits for the disk.
    #[must_use]
    pub fn oldest_at(&self) -> Option<Duration> {
        self.gauges.lock().oldest_at
    }

    /// Publishes the state to readers that must not wait for the disk.
    fn publish(&self, inner: &SpoolState) {
        let oldest = inner.marks.front().map(|(_, at)| *at);
        *self.gauges.lock() = SpoolGauges {
            bytes: inner.bytes(),
            oldest_at: oldest.filter(|_| inner.acks.next() < inner.end),
        };
    }

    /// How often to call [`Spool::sync`].
    #[must_use]
    pub fn sync_interval(&self) -> Duration {
        self.config.sync
    }

    /// The directory of the spool as configured, for other files that belong to it.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        &self.config.path
    }
}
