//! Reads events in order for the shipper.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::recovery::Segment;
use super::{Spool, Spooled, format};

/// How much is read at once: a few hundred events.
const READ_BYTES: usize = 256 * 1024;
/// The maximum length of one event with its prefix.
const LONGEST_BYTES: usize = format::EVENT_BYTES_MAX + format::PREFIX_BYTES;

/// The outcome of a read.
#[derive(Debug)]
pub enum SpoolRead {
    Events(Vec<Spooled>),
    /// The events from the first number up to, but not including, the second can no longer be read.
    Lost(u64, u64),
    /// Events cannot be read now, but perhaps later, for example because no file can be opened.
    Failed(io::Error),
    /// Nothing more for now.
    Empty,
}

/// A snapshot of a segment.
#[derive(Clone, Copy)]
struct Extent {
    version: format::SegmentVersion,
    first: u64,
    end: u64,
    bytes: u64,
}

/// The position of the shipper.
#[derive(Debug)]
pub struct SpoolReader {
    number: u64,
    /// The file it is in, and how far it has been read.
    open: Option<(u64, File, u64)>,
}

impl SpoolReader {
    pub(super) fn at(number: u64) -> Self {
        SpoolReader { number, open: None }
    }
}

impl Spool {
    /// The segment that `reader` continues in, and its file.
    fn segment_of(&self, reader: &mut SpoolReader) -> Option<(Extent, PathBuf)> {
        let inner = self.inner.lock();
        // A removed file takes space on disk while it is open.
        reader.open.take_if(|(open, ..)| {
            let is_it = |segment: &Segment| segment.first.cmp(open);
            inner.segments.binary_search_by(is_it).is_err()
        });
        let number = reader.number;
        let place = inner
            .segments
            .partition_point(|segment| segment.end <= number);
        let segment = inner.segments.get(place)?;
        let extent = Extent {
            version: segment.version,
            first: segment.first,
            end: segment.end,
            bytes: segment.bytes,
        };
        Some((extent, segment.path.clone()))
    }

    /// The next events of `reader`: at most `events_max`, and about `bytes_max` bytes.
    pub fn read(&self, reader: &mut SpoolReader, events_max: usize, bytes_max: usize) -> SpoolRead {
        let Some((segment, path)) = self.segment_of(reader) else {
            return SpoolRead::Empty;
        };
        let Extent {
            version,
            first,
            end,
            bytes,
        } = segment;
        // Missing events between two segments were acknowledged at startup.
        reader.number = reader.number.max(first);
        let mut offset = match &reader.open {
            Some((open, _, offset)) if *open == first => *offset,
            _ => match File::open(&path) {
                Ok(file) => {
                    reader.open = Some((first, file, format::HEADER_BYTES as u64));
                    return self.skip_to(reader, segment, events_max, bytes_max);
                }
                Err(error) => return self.failed(reader, end, error),
            },
        };
        let Some((_, file, _)) = &reader.open else {
            return SpoolRead::Empty;
        };
        let mut read = read_at(file, offset, bytes, READ_BYTES.min(bytes_max));
        let is_short = |buffer: &Vec<u8>| format::read(version, buffer, reader.number).is_none();
        if read.as_ref().is_ok_and(is_short) {
            // The event may be longer than what was read.
            read = read_at(file, offset, bytes, LONGEST_BYTES);
        }
        let buffer = match read {
            Ok(buffer) => buffer,
            Err(error) => return self.failed(reader, end, error),
        };
        let mut taken = Vec::new();
        let mut rest = &buffer[..];
        while reader.number < end && taken.len() < events_max {
            match format::read(version, rest, reader.number) {
                Some(entry) => {
                    taken.push(Spooled {
                        number: reader.number,
                        dataset: entry.dataset,
                        id: *entry.id,
                        line: entry.line.into(),
                    });
                    rest = &rest[entry.bytes..];
                    offset += entry.bytes as u64;
                    reader.number += 1;
                }
                None if taken.is_empty() => {
                    let Some(bytes) = format::damaged(version, rest, reader.number) else {
                        return self.lost(reader, end);
                    };
                    if let Some((_, _, read)) = &mut reader.open {
                        *read = offset + bytes as u64;
                    }
                    reader.number += 1;
                    return SpoolRead::Lost(reader.number - 1, reader.number);
                }
                None => break,
            }
        }
        if let Some((_, _, read)) = &mut reader.open {
            *read = offset;
        }
        SpoolRead::Events(taken)
    }

    /// Skips the events of a newly opened segment that are before the reader's number.
    fn skip_to(
        &self,
        reader: &mut SpoolReader,
        segment: Extent,
        events_max: usize,
        bytes_max: usize,
    ) -> SpoolRead {
        let Extent {
            version,
            end,
            bytes,
            ..
        } = segment;
        let wanted = reader.number;
        let Some((first, file, offset)) = &mut reader.open else {
            return SpoolRead::Empty;
        };
        let mut number = *first;
        while number < wanted {
            let buffer = match read_at(file, *offset, bytes, LONGEST_BYTES) {
                Ok(buffer) => buffer,
                Err(error) => return self.failed(reader, end, error),
            };
            let mut rest = &buffer[..];
            let before = number;
            while number < wanted
                && let Some(bytes) = format::length(version, rest, number)
            {
                rest = &rest[bytes..];
                *offset += bytes as u64;
                number += 1;
            }
            if number == before {
                return self.lost(reader, end);
            }
        }
        self.read(reader, events_max, bytes_max)
    }

    /// A file that is missing or shorter than before has lost its events; any other error may be temporary.
    fn failed(&self, reader: &mut SpoolReader, end: u64, error: io::Error) -> SpoolRead {
        use io::ErrorKind::{NotADirectory, NotFound, UnexpectedEof};
        match error.kind() {
            NotFound | NotADirectory | UnexpectedEof => self.lost(reader, end),
            _ => {
                reader.open = None;
                SpoolRead::Failed(error)
            }
        }
    }

    /// The rest of a segment is damaged. New events go into a new segment: after the damage they could not be read.
    fn lost(&self, reader: &mut SpoolReader, end: u64) -> SpoolRead {
        let from = std::mem::replace(&mut reader.number, end);
        reader.open = None;
        let mut inner = self.inner.lock();
        if end <= inner.acks.next() {
            // They have been handed over, or settled.
            return SpoolRead::Empty;
        }
        let is_last = |segment: &Segment| segment.first <= from && from < segment.end;
        if inner.segments.back().is_some_and(is_last) {
            let events = inner.segments.back().map_or(end, |last| last.end);
            inner.active = None;
            reader.number = events;
            return SpoolRead::Lost(from, events);
        }
        SpoolRead::Lost(from, end)
    }
}

fn read_at(file: &File, offset: u64, end: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; left.min(bytes_max)];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer)
}
