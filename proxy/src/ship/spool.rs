//! The spool (write-ahead log) of events that are not in the index yet: segments on disk, in the order in
//! which events were recorded.
//!
//! The writers of events and of alert transitions append, the shipper reads and acknowledges. No request
//! waits for it. The format is described in `spool/format.rs`. A kill at any instant loses nothing that is
//! older than `sync`; what was acknowledged after the last `sync` is sent again and found to be a duplicate
//! (idempotency).

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
use inner::{Inner, Unsynced};
use recovery::Segment;

mod acks;
mod append;
pub(crate) mod format;
mod inner;
mod reader;
mod recovery;
#[cfg(test)]
mod tests;

pub use format::ID_BYTES;
pub use reader::{Next, Reader};

/// The checked `spool` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub path: PathBuf,
    /// The most that events of requests may take.
    pub bytes_max: u64,
    /// The longest time until an event is safe on the disk.
    pub sync: Duration,
}

/// Segments are a sixteenth of the room, within these bounds.
const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
const SEGMENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The most that alert transitions may take, beside `bytes_max`: events of requests never keep them out,
/// nor they events.
const ALERT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// An event out of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Counted from the first event that the spool ever held.
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
    /// Held over writes: who locks it may wait for the disk.
    inner: Mutex<Inner>,
    /// Held for a moment only.
    shown: Mutex<Shown>,
    config: Config,
    segment_bytes: u64,
    /// Notified when there is something to read.
    pub arrived: Notify,
    ledgers: PerDataset<Ledger>,
    _lock: File,
}

/// What metrics and alerts see of it.
#[derive(Debug, Default)]
struct Shown {
    bytes: PerDataset<u64>,
    oldest_at: Option<Duration>,
}

/// Opens the file of the cursor; what is there and is no file is moved aside.
fn open_cursor(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        recovery::set_aside(path, &io::Error::other("it is no file"));
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

impl Spool {
    /// Opens the directory and recovers what is in it. Gives the spool, a reader, and how many events there
    /// are.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or another process has it.
    pub fn open(
        config: &Config,
        ledgers: &PerDataset<Ledger>,
    ) -> io::Result<(Arc<Self>, Reader, u64)> {
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
        // What was between two segments is lost: nothing will acknowledge it.
        let mut behind = found.next;
        for segment in &found.segments {
            acks.done(behind, segment.first);
            behind = segment.end;
        }
        let reader = Reader::at(acks.next());
        let spool = Spool {
            inner: Mutex::new(Inner {
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
            shown: Mutex::default(),
            segment_bytes: (config.bytes_max / 16).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            config: config.clone(),
            arrived: Notify::new(),
            ledgers: ledgers.clone(),
            _lock: lock,
        };
        spool.show(&spool.inner.lock());
        Ok((Arc::new(spool), reader, count))
    }

    /// Acknowledges the events from `first` up to before `end`, and removes the segments that are done. Gives
    /// how many of them were not acknowledged before.
    pub fn acknowledge(&self, first: u64, end: u64) -> PerDataset<u64> {
        let mut inner = self.inner.lock();
        let news = inner.settle(first, end);
        self.remove_done(&mut inner);
        self.show(&inner);
        news
    }

    fn remove_done(&self, inner: &mut Inner) {
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

    /// Syncs to disk what was appended, and what was acknowledged.
    ///
    /// # Errors
    /// When the disk rejects it; the next call tries again.
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

    /// A reader of what is not acknowledged.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::at(self.inner.lock().acks.next())
    }

    /// What segments take on disk, as of the last write that ended: this waits for none.
    #[must_use]
    pub fn bytes(&self) -> PerDataset<u64> {
        self.shown.lock().bytes.clone()
    }

    /// When the oldest event that is not acknowledged was recorded, to a second; `None` when all are. As of the
    /// last write that ended: this waits for none.
    #[must_use]
    pub fn oldest_at(&self) -> Option<Duration> {
        self.shown.lock().oldest_at
    }

    /// Publishes the state to readers that must not wait for the disk.
    fn show(&self, inner: &Inner) {
        let oldest = inner.marks.front().map(|(_, at)| *at);
        *self.shown.lock() = Shown {
            bytes: inner.bytes(),
            oldest_at: oldest.filter(|_| inner.acks.next() < inner.end),
        };
    }

    /// How often [`Spool::sync`] has to be called.
    #[must_use]
    pub fn sync_interval(&self) -> Duration {
        self.config.sync
    }

    /// Where other files that belong to the spool may be put.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        &self.config.path
    }
}
