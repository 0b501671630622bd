//! Appends events: each call makes one write per segment.

use std::fs::{File, OpenOptions};
use std::io;
use std::iter::Peekable;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::inner::{SpoolState, Unsynced};
use super::recovery::Segment;
use super::{ALERT_BYTES_MAX, ID_BYTES, Spool, Spooled, format, recovery};
use crate::ship::dataset::Dataset;

/// A buffer that has grown larger is freed.
const BUFFER_KEPT_BYTES: usize = 2 * 1024 * 1024;
/// Characters of a ULID that stay the same for 1,024 ms: ten hold 48 bits of milliseconds.
const SECOND_CHARACTERS: usize = 8;

impl Spool {
    /// Appends events of a dataset, each a complete line of JSON with its id. Returns how many of them, from the
    /// first on, are in the spool, and the error that stopped the rest.
    pub fn append<'l>(
        &self,
        dataset: Dataset,
        events: impl Iterator<Item = (&'l [u8; ID_BYTES], &'l [u8])>,
    ) -> (usize, io::Result<()>) {
        let mut inner = self.inner.lock();
        let outcome = self.append_locked(&mut inner, dataset, events);
        self.publish(&inner);
        drop(inner);
        if outcome.0 > 0 {
            self.arrived.notify_one();
        }
        outcome
    }

    /// Moves events to the end of the spool if newer segments follow theirs: an event that waits for a long time
    /// must not keep old segments on disk. Returns the events that were not moved; the others are read again.
    pub fn move_to_end(&self, dataset: Dataset, events: Vec<Spooled>) -> Vec<Spooled> {
        let mut inner = self.inner.lock();
        let last = inner.segments.back().map_or(0, |last| last.first);
        // Events that have been handed over are before all that are not settled.
        let is_here = |event: &Spooled| event.number >= inner.acks.next();
        if events.iter().all(|event| event.number >= last) || !events.iter().all(is_here) {
            return events;
        }
        let ledger = self.ledgers.of(dataset);
        ledger.unspool(events.len() as u64);
        let lines = events.iter().map(|event| (&event.id, &event.line[..]));
        let (moved, outcome) = self.append_locked(&mut inner, dataset, lines);
        if let Err(error) = outcome {
            log::warn!("spool: cannot move waiting events to its end: {error}");
        }
        let mut events = events;
        let rest = events.split_off(moved);
        ledger.spool(rest.len() as u64);
        for event in events {
            inner.settle(event.number, event.number + 1);
        }
        self.remove_done(&mut inner);
        self.publish(&inner);
        drop(inner);
        self.arrived.notify_one();
        rest
    }

    fn append_locked<'l>(
        &self,
        inner: &mut SpoolState,
        dataset: Dataset,
        events: impl Iterator<Item = (&'l [u8; ID_BYTES], &'l [u8])>,
    ) -> (usize, io::Result<()>) {
        let mut events = events.peekable();
        let mut appended = 0;
        while events.peek().is_some() {
            match self.append_to_segment(inner, dataset, &mut events) {
                Ok(0) => return (appended, Err(io::Error::other("the spool is full"))),
                Ok(count) => appended += count,
                Err(error) => return (appended, Err(error)),
            }
        }
        (appended, Ok(()))
    }

    /// Appends as many as fit into one segment, in one write.
    fn append_to_segment<'l>(
        &self,
        inner: &mut SpoolState,
        dataset: Dataset,
        events: &mut Peekable<impl Iterator<Item = (&'l [u8; ID_BYTES], &'l [u8])>>,
    ) -> io::Result<usize> {
        let mut bytes = std::mem::take(&mut inner.buffer);
        bytes.clear();
        let outcome = self.append_with(&mut bytes, inner, dataset, events);
        if bytes.capacity() <= BUFFER_KEPT_BYTES {
            inner.buffer = bytes;
        }
        outcome
    }

    /// As [`Spool::append_to_segment`], with an empty buffer for what is written.
    fn append_with<'l>(
        &self,
        bytes: &mut Vec<u8>,
        inner: &mut SpoolState,
        dataset: Dataset,
        events: &mut Peekable<impl Iterator<Item = (&'l [u8; ID_BYTES], &'l [u8])>>,
    ) -> io::Result<usize> {
        let room = self.room(inner, dataset);
        let mut active = inner.active.clone();
        if inner
            .segments
            .back()
            .is_some_and(|last| last.bytes >= self.segment_bytes)
        {
            active = None;
        }
        let mut at = 0;
        if active.is_none() {
            bytes.extend_from_slice(&format::header(inner.end));
        } else if let Some(last) = inner.segments.back() {
            at = last.bytes;
        }
        let (begun, mut count) = (bytes.len(), 0);
        let mut marks: Vec<(u64, &[u8; ID_BYTES])> = Vec::new();
        while let Some((id, line)) = events.peek() {
            let before = bytes.len();
            let number = inner.end + count as u64;
            if format::append(bytes, number, dataset, id, line).is_none() {
                return Err(io::Error::other("an event is longer than 1 MiB"));
            }
            if bytes.len() as u64 > room {
                bytes.truncate(before);
                break;
            }
            // The ids of one second begin alike.
            let (_, marked) = marks.last().unwrap_or(&(0, &[0; ID_BYTES]));
            if marked[..SECOND_CHARACTERS] != id[..SECOND_CHARACTERS] {
                marks.push((number, id));
            }
            count += 1;
            events.next();
            if at + bytes.len() as u64 >= self.segment_bytes {
                break;
            }
        }
        if bytes.len() == begun {
            return Ok(0);
        }
        let file = match active {
            Some(file) => file,
            None => self.begin_segment(inner)?,
        };
        if let Err(error) = file.write_all_at(bytes, at) {
            inner.give_up(&file, at, count as u64);
            return Err(error);
        }
        inner.unsynced = Unsynced::Events;
        // Counted before the shipper can read them, so that no event is settled before it is counted.
        self.ledgers.of(dataset).spool(count as u64);
        inner.note_appended(dataset, count as u64);
        let end = inner.end;
        if let Some(last) = inner.segments.back_mut() {
            last.end = end;
            last.bytes = at + bytes.len() as u64;
            if dataset == Dataset::Alert {
                last.alert_bytes += (bytes.len() - begun) as u64;
            }
        }
        for (number, id) in marks {
            recovery::mark(&mut inner.marks, number, format::recorded_at(id));
        }
        Ok(count)
    }

    /// How many more bytes of a dataset fit.
    fn room(&self, inner: &SpoolState, dataset: Dataset) -> u64 {
        let bytes = inner.bytes();
        match dataset {
            Dataset::Access => self.config.bytes_max.saturating_sub(bytes.access),
            Dataset::Alert => {
                let bytes_max = self.config.bytes_max.min(ALERT_BYTES_MAX);
                bytes_max.saturating_sub(bytes.alert)
            }
        }
    }

    /// Creates the file of the next segment.
    fn begin_segment(&self, inner: &mut SpoolState) -> io::Result<Arc<File>> {
        inner.sync_active()?;
        let first = inner.end;
        let path = recovery::segment_path(&inner.directory, first);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        File::open(&inner.directory)?.sync_all()?;
        let file = Arc::new(file);
        inner.active = Some(file.clone());
        inner.segments.push_back(Segment {
            first,
            end: first,
            version: format::SegmentVersion::Two,
            bytes: 0,
            alert_bytes: 0,
            path,
        });
        Ok(file)
    }
}
