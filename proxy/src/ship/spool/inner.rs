//! The state of the spool, behind its lock.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::acks::Acks;
use super::recovery::Segment;
use super::{format, recovery};
use crate::ship::dataset::{Dataset, PerDataset};

#[derive(Debug)]
pub(super) struct SpoolState {
    /// Where new segments are created.
    pub(super) directory: PathBuf,
    /// Held as long as this state is in use.
    pub(super) locks: Vec<File>,
    pub(super) segments: VecDeque<Segment>,
    /// The file of the last segment; `None` before the first event and after a failure.
    pub(super) active: Option<Arc<File>>,
    /// The number of the next event.
    pub(super) end: u64,
    pub(super) acks: Acks,
    /// The numbers of the unsettled alert transitions, which are few.
    pub(super) alerts: BTreeSet<u64>,
    /// How many events were appended since the spool was opened.
    pub(super) appended: PerDataset<u64>,
    pub(super) marks: VecDeque<(u64, Duration)>,
    pub(super) cursor: File,
    pub(super) generation: u64,
    /// The cursor on disk.
    pub(super) saved: u64,
    pub(super) unsynced: Unsynced,
    /// The buffer for the next write; it is reused.
    pub(super) buffer: Vec<u8>,
}

/// Whether the last segment has unsynced data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsynced {
    Nothing,
    Events,
}

impl SpoolState {
    /// The size of the segments on disk.
    pub(super) fn bytes(&self) -> PerDataset<u64> {
        let alert = self.segments.iter().map(|segment| segment.alert_bytes);
        let alert = alert.sum();
        let all: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        PerDataset {
            access: all.saturating_sub(alert),
            alert,
        }
    }

    /// Settles the events `first..end`. Returns how many of them were not settled before.
    pub(super) fn settle(&mut self, first: u64, end: u64) -> PerDataset<u64> {
        let news = self.acks.done(first, end);
        let mut alert = 0;
        while let Some(number) = self.alerts.range(first..end.max(first)).next().copied() {
            self.alerts.remove(&number);
            alert += 1;
        }
        PerDataset {
            access: news.saturating_sub(alert),
            alert,
        }
    }

    /// Notes that `count` events of a dataset were appended.
    pub(super) fn note_appended(&mut self, dataset: Dataset, count: u64) {
        if dataset == Dataset::Alert {
            self.alerts.extend(self.end..self.end + count);
        }
        *self.appended.of_mut(dataset) += count;
        self.end += count;
    }

    /// Gives up a failed write, part of which may be on disk: truncates it and does not reuse its numbers, so that
    /// the next write cannot be confused with it.
    pub(super) fn give_up(&mut self, file: &File, at: u64, events: u64) {
        self.active = None;
        if let Err(error) = file.set_len(at) {
            log::warn!("spool: cannot remove a partial write: {error}");
        }
        if at == 0
            && let Some(empty) = self.segments.pop_back()
        {
            recovery::remove(&empty.path);
        }
        self.acks.done(self.end, self.end + events);
        self.end += events;
    }

    pub(super) fn sync_active(&mut self) -> io::Result<()> {
        if let (Some(active), Unsynced::Events) = (&self.active, self.unsynced) {
            active.sync_data()?;
        }
        self.unsynced = Unsynced::Nothing;
        Ok(())
    }

    /// Writes the next slot of the cursor if it has moved. Returns the file to sync.
    pub(super) fn write_cursor(&mut self) -> io::Result<Option<File>> {
        let next = self.acks.next();
        if next == self.saved {
            return Ok(None);
        }
        let generation = self.generation + 1;
        let slot = format::slot(generation, next);
        let place = (generation % 2) * format::SLOT_BYTES as u64;
        self.cursor.write_all_at(&slot, place)?;
        (self.generation, self.saved) = (generation, next);
        self.cursor.try_clone().map(Some)
    }
}
