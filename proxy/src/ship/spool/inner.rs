//! What is known of the spool at a moment, behind its lock.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::acks::Acks;
use super::recovery::Segment;
use super::{format, recovery};

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) segments: VecDeque<Segment>,
    /// The file of the last segment; `None` before the first event and after a failure.
    pub(super) active: Option<Arc<File>>,
    /// The number of the next event.
    pub(super) end: u64,
    pub(super) acks: Acks,
    pub(super) marks: VecDeque<(u64, Duration)>,
    pub(super) cursor: File,
    pub(super) generation: u64,
    /// What the cursor on the disk says.
    pub(super) saved: u64,
    pub(super) unsynced: Unsynced,
    /// What is written next is put together here: it is used again and again.
    pub(super) buffer: Vec<u8>,
}

/// Whether the last segment has what the disk may not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsynced {
    Nothing,
    Events,
}

impl Inner {
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// A write failed: part of it may be on the disk. It is cut off, and its numbers are not used
    /// again, so that what is written next cannot be taken for it.
    pub(super) fn give_up(&mut self, file: &File, at: u64, events: u64) {
        self.active = None;
        if let Err(error) = file.set_len(at) {
            log::warn!("spool: cannot cut off what was not written whole: {error}");
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

    /// Writes the cursor's next slot, if there is news. Gives the file, to be synced.
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
