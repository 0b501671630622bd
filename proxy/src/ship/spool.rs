//! What is not yet in Elasticsearch: events in segments on the disk, in the order they were recorded.
//!
//! The thread that writes events appends, the shipper reads and acknowledges. Nothing of it is on the
//! way of a request. `spool/format.rs` says how the bytes lie. Killed at any instant it loses nothing
//! that is older than `sync`; what was acknowledged after the last `sync` is sent again and found to be
//! there already.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ledger::Ledger;
use crate::file_lock;
use acks::Acks;
use inner::{Inner, Unsynced};
use recovery::Segment;

mod acks;
pub(crate) mod format;
mod inner;
mod reader;
mod recovery;
#[cfg(test)]
mod tests;

pub use format::ID_BYTES;
pub use reader::{Next, Reader};

/// The checked `spool` block.
#[derive(Clone, Debug)]
pub struct Config {
    pub path: PathBuf,
    /// The most that segments may take.
    pub bytes_max: u64,
    /// The longest time until an event is safe on the disk.
    pub sync: Duration,
}

/// Segments are a sixteenth of the room, within these bounds.
const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
const SEGMENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A buffer that became larger is given back.
const BUFFER_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Characters of a ULID that stay the same for 1,024 ms: ten hold 48 bits of milliseconds.
const SECOND_CHARACTERS: usize = 8;

/// An event out of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spooled {
    /// Counted from the first event that the spool ever held.
    pub number: u64,
    /// Its ULID.
    pub id: [u8; ID_BYTES],
    /// JSON, without a line end.
    pub line: Box<[u8]>,
}

/// The spool of one process.
#[derive(Debug)]
pub struct Spool {
    /// Held over writes: whoever wants it waits for the disk.
    inner: Mutex<Inner>,
    /// Held for a moment only.
    shown: Mutex<Shown>,
    config: Config,
    segment_bytes: u64,
    /// Told when there is something to read.
    pub arrived: Notify,
    ledger: Ledger,
    _lock: File,
}

/// What metrics and alerts see of it.
#[derive(Debug, Default)]
struct Shown {
    bytes: u64,
    oldest_at: Option<Duration>,
}

/// Opens the cursor's file; what is there and is none is moved aside.
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
    /// Opens the folder and looks through it. Gives the spool, where to read, and how many events are
    /// in it.
    ///
    /// # Errors
    /// When the folder cannot be made or read, or another process has it.
    pub fn open(config: &Config, ledger: &Ledger) -> io::Result<(Arc<Self>, Reader, u64)> {
        let directory = &config.path;
        fs::create_dir_all(directory)?;
        let lock = file_lock::take(&directory.join("lock"))?;
        let found = recovery::look(directory)?;
        let cursor = open_cursor(&recovery::cursor_path(directory))?;
        let end = found.segments.back().map_or(found.next, |last| last.end);
        let events = found.segments.iter();
        let events = events.map(|segment| segment.end - segment.first.max(found.next));
        let count = events.sum();
        ledger.recover(count);
        let mut acks = Acks::new(found.next);
        // What lies between two segments is gone: nobody will acknowledge it.
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
            ledger: ledger.clone(),
            _lock: lock,
        };
        spool.show(&spool.inner.lock());
        Ok((Arc::new(spool), reader, count))
    }

    /// Appends events; each is a whole line of JSON with its id. Gives how many of them are in the
    /// spool now, from the first on, and why no more.
    pub fn append<'l>(
        &self,
        events: impl Iterator<Item = (&'l [u8; ID_BYTES], &'l [u8])>,
    ) -> (usize, io::Result<()>) {
        let mut inner = self.inner.lock();
        let mut events = events.peekable();
        let mut appended = 0;
        while events.peek().is_some() {
            match self.append_to_segment(&mut inner, &mut events) {
                Ok(0) => break,
                Ok(count) => appended += count,
                Err(error) => {
                    self.show(&inner);
                    return (appended, Err(error));
                }
            }
        }
        self.show(&inner);
        drop(inner);
        if appended > 0 {
            self.arrived.notify_one();
        }
        match events.peek() {
            None => (appended, Ok(())),
            Some(_) => (appended, Err(io::Error::other("the spool is full"))),
        }
    }

    /// Appends as many as fit into one segment, in one write.
    fn append_to_segment<'l>(
        &self,
        inner: &mut Inner,
        events: &mut std::iter::Peekable<impl Iterator<Item = (&'l [u8; 26], &'l [u8])>>,
    ) -> io::Result<usize> {
        let mut bytes = std::mem::take(&mut inner.buffer);
        bytes.clear();
        let outcome = self.append_with(&mut bytes, inner, events);
        if bytes.capacity() <= BUFFER_KEPT_BYTES {
            inner.buffer = bytes;
        }
        outcome
    }

    /// As [`Spool::append_to_segment`], with an empty buffer for what is written.
    fn append_with<'l>(
        &self,
        bytes: &mut Vec<u8>,
        inner: &mut Inner,
        events: &mut std::iter::Peekable<impl Iterator<Item = (&'l [u8; 26], &'l [u8])>>,
    ) -> io::Result<usize> {
        let room = self.config.bytes_max.saturating_sub(inner.bytes());
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
            if format::append(bytes, number, id, line).is_none() {
                return Err(io::Error::other("an event is longer than 1 MiB"));
            }
            if bytes.len() as u64 > room {
                bytes.truncate(before);
                break;
            }
            // Of one second all ids begin alike.
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
        // Booked before the shipper can see it, or it could be settled before it is there.
        self.ledger.spool(count as u64);
        inner.end += count as u64;
        if let Some(last) = inner.segments.back_mut() {
            last.end = inner.end;
            last.bytes = at + bytes.len() as u64;
        }
        for (number, id) in marks {
            recovery::mark(&mut inner.marks, number, format::recorded_at(id));
        }
        Ok(count)
    }

    /// Makes the file of the next segment.
    fn begin_segment(&self, inner: &mut Inner) -> io::Result<Arc<File>> {
        inner.sync_active()?;
        let first = inner.end;
        let path = recovery::segment_path(&self.config.path, first);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        File::open(&self.config.path)?.sync_all()?;
        let file = Arc::new(file);
        inner.active = Some(file.clone());
        inner.segments.push_back(Segment {
            first,
            end: first,
            bytes: 0,
            path,
        });
        Ok(file)
    }

    /// The events from `first` up to before `end` are settled. Segments that are done are removed. Gives how many
    /// of them were not settled before.
    pub fn acknowledge(&self, first: u64, end: u64) -> u64 {
        let mut inner = self.inner.lock();
        let news = inner.acks.done(first, end);
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
        while inner
            .marks
            .get(1)
            .is_some_and(|(number, _)| *number <= next)
        {
            inner.marks.pop_front();
        }
        self.show(&inner);
        news
    }

    /// Makes sure that the disk has what was appended, and what was acknowledged.
    ///
    /// # Errors
    /// When the disk does not take it; then it is tried again the next time.
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

    /// The number that the next event gets.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.inner.lock().end
    }

    /// A reader of what is not settled.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::at(self.inner.lock().acks.next())
    }

    /// What segments take on the disk, as of the last write that ended: this waits for none.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shown.lock().bytes
    }

    /// When the oldest event that is not settled was recorded, to a second; `None` when all are. As of the last
    /// write that ended: this waits for none.
    #[must_use]
    pub fn oldest_at(&self) -> Option<Duration> {
        self.shown.lock().oldest_at
    }

    /// Shows how it stands, to those who must not wait for a disk.
    fn show(&self, inner: &Inner) {
        let oldest = inner.marks.front().map(|(_, at)| *at);
        *self.shown.lock() = Shown {
            bytes: inner.bytes(),
            oldest_at: oldest.filter(|_| inner.acks.next() < inner.end),
        };
    }

    /// How often [`Spool::sync`] is to be called.
    #[must_use]
    pub fn sync_interval(&self) -> Duration {
        self.config.sync
    }

    /// Where files of the spool's own may be put.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        &self.config.path
    }
}
