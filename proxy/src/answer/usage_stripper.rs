//! Strips one event from a stream of chat completions: the chunk that reports the usage, if only weir
//! requested it. Every other byte is forwarded unchanged.
//!
//! Events are those of the HTML standard, section 9.2.6. An event is held back only until it is known not to be
//! that chunk, which is before its content begins; comments, which keep connections open, are never held back.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use memchr::memchr2;

use crate::model::usage_chunk::{UsageChunk, UsageChunkMatch};

/// An event that is larger than this is not the chunk.
const HELD_BYTES_MAX: usize = 64 * 1024;

const BYTE_ORDER_MARK: [u8; 3] = *b"\xef\xbb\xbf";

/// Strips the chunk from the pieces of one stream.
#[derive(Debug, Default)]
pub(crate) struct UsageStripper {
    event: EventState,
    line: LineState,
    /// What the data of the event looks like, while the event is held back.
    look: UsageChunk,
    data: DataLine,
    /// The part of the held event that arrived before the current piece.
    held: Vec<u8>,
    cr: Cr,
    /// The part of a byte order mark that may still follow at the beginning of the stream.
    mark: Range<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EventState {
    /// No event has begun; comments may have arrived.
    #[default]
    None,
    /// It may be the chunk.
    Held,
    /// It is not the chunk, and is forwarded.
    Passing,
}

/// Whether the event has a line of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum DataLine {
    #[default]
    None,
    Some,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineState {
    #[default]
    Begin,
    /// How many bytes of `data` have arrived.
    Name(usize),
    /// After the colon, where a space may follow.
    Colon,
    Data,
    /// A comment, or a field that does not matter.
    Other,
}

/// Whether the byte before was a CR: an LF after it belongs to the same line end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cr {
    #[default]
    None,
    Forwarded,
    /// It was the last byte of the stripped event.
    Stripped,
}

impl UsageStripper {
    pub(crate) fn new() -> Self {
        UsageStripper {
            mark: 0..BYTE_ORDER_MARK.len(),
            ..UsageStripper::default()
        }
    }

    /// Returns what is forwarded to the client: bytes of this piece, and held bytes of earlier ones.
    pub(crate) fn feed(&mut self, piece: &Bytes) -> Bytes {
        let mut forwarded = Forwarded::of(piece);
        // Where the unhandled bytes begin: the held event, if there is one.
        let mut from = 0;
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if self
                .mark
                .next()
                .is_some_and(|next| BYTE_ORDER_MARK[next] == byte)
            {
                at += 1;
                continue;
            }
            self.mark = 0..0;
            let cr = std::mem::take(&mut self.cr);
            if cr != Cr::None && byte == b'\n' {
                at += 1;
                if cr == Cr::Stripped {
                    from = at;
                }
                continue;
            }
            if self.line == LineState::Begin && is_line_end(byte) {
                at += 1;
                let is_chunk = self.is_chunk();
                if is_chunk {
                    self.held.extend_from_slice(&piece[from..at]);
                    forwarded.copy(&comments(&std::mem::take(&mut self.held)));
                    from = at;
                }
                self.release(&mut forwarded);
                self.event = EventState::None;
                self.cr = match byte {
                    b'\r' if is_chunk => Cr::Stripped,
                    b'\r' => Cr::Forwarded,
                    _ => Cr::None,
                };
                continue;
            }
            if self.line == LineState::Begin && self.begins_event(byte) {
                forwarded.push(from..at);
                from = at;
            }
            let (read, looks) = self.read_line(&piece[at..]);
            at += read;
            if looks == UsageChunkMatch::Excluded || self.held.len() + at - from > HELD_BYTES_MAX {
                self.release(&mut forwarded);
            }
        }
        match self.event {
            EventState::Held => self.held.extend_from_slice(&piece[from..]),
            EventState::None | EventState::Passing => forwarded.push(from..piece.len()),
        }
        forwarded.into_bytes()
    }

    /// Returns the held bytes that are forwarded at the end of the stream: all, unless they are the chunk without its
    /// last line end.
    pub(crate) fn finish(self) -> Bytes {
        match self.is_chunk() {
            true => comments(&self.held).into(),
            false => self.held.into(),
        }
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn is_chunk(&self) -> bool {
        self.event == EventState::Held && self.data == DataLine::Some && self.look.is_usage_chunk()
    }

    /// Forwards the held event, if there is one: it is not the chunk.
    fn release(&mut self, forwarded: &mut Forwarded<'_>) {
        if self.event == EventState::Held {
            self.event = EventState::Passing;
            forwarded.copy(&self.held);
            self.held.clear();
        }
    }

    /// Begins a line that is not empty. Returns whether an event begins with it.
    fn begins_event(&mut self, byte: u8) -> bool {
        self.line = match (self.event, byte) {
            (EventState::Passing, _) | (_, b':') => LineState::Other,
            (EventState::None | EventState::Held, _) => LineState::Name(0),
        };
        let begins = self.event == EventState::None && self.line != LineState::Other;
        if begins {
            self.event = EventState::Held;
            self.look = UsageChunk::default();
            self.data = DataLine::None;
        }
        begins
    }

    /// Continues reading a line. Returns how many bytes were read, and what the event looks like then.
    fn read_line(&mut self, rest: &[u8]) -> (usize, UsageChunkMatch) {
        let first = rest.first().copied().unwrap_or(b'\n');
        let mut looks = UsageChunkMatch::Possible;
        let (line, read) = match self.line {
            LineState::Name(4) if first == b':' || is_line_end(first) => {
                if std::mem::replace(&mut self.data, DataLine::Some) == DataLine::Some {
                    looks = self.look.feed(b"\n");
                }
                match first {
                    b':' => (LineState::Colon, 1),
                    _ => (LineState::Other, 0),
                }
            }
            LineState::Name(count) if b"data".get(count) == Some(&first) => {
                (LineState::Name(count + 1), 1)
            }
            LineState::Name(_) => (LineState::Other, 0),
            LineState::Colon => (LineState::Data, usize::from(first == b' ')),
            LineState::Begin | LineState::Data | LineState::Other => {
                let end = memchr2(b'\n', b'\r', rest);
                let text = &rest[..end.unwrap_or(rest.len())];
                if self.line == LineState::Data && self.event == EventState::Held {
                    looks = self.look.feed(text);
                }
                match end {
                    Some(end) if rest[end] == b'\r' => {
                        self.cr = Cr::Forwarded;
                        (LineState::Begin, end + 1)
                    }
                    Some(end) => (LineState::Begin, end + 1),
                    None => (self.line, rest.len()),
                }
            }
        };
        self.line = line;
        (read, looks)
    }
}

/// The forwarded bytes of one piece, not copied if they are contiguous.
struct Forwarded<'a> {
    piece: &'a Bytes,
    copied: Vec<u8>,
    last: Range<usize>,
}

impl<'a> Forwarded<'a> {
    fn of(piece: &'a Bytes) -> Self {
        Forwarded {
            piece,
            copied: Vec::new(),
            last: 0..0,
        }
    }

    fn push(&mut self, range: Range<usize>) {
        if self.last.end == range.start {
            self.last.end = range.end;
        } else if !range.is_empty() {
            self.copy(b"");
            self.last = range;
        }
    }

    /// Appends bytes that are not part of the piece.
    fn copy(&mut self, bytes: &[u8]) {
        self.copied
            .extend_from_slice(&self.piece[self.last.clone()]);
        self.copied.extend_from_slice(bytes);
        self.last = self.last.end..self.last.end;
    }

    fn into_bytes(mut self) -> Bytes {
        if self.copied.is_empty() {
            return self.piece.slice(self.last);
        }
        self.copy(b"");
        self.copied.into()
    }
}

/// Removes the fields that were computed over all bytes of a response.
pub(crate) fn remove_digests(fields: &mut HeaderMap) {
    for name in [
        "content-digest",
        "repr-digest",
        "digest",
        "content-md5",
        "etag",
    ] {
        fields.remove(name);
    }
}

/// The comment lines of an event, which are not part of its data.
fn comments(event: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut rest = event;
    while let Some(end) = memchr2(b'\n', b'\r', rest) {
        let end = match rest[end..].starts_with(b"\r\n") {
            true => end + 2,
            false => end + 1,
        };
        let (line, after) = rest.split_at(end);
        if line.starts_with(b":") {
            kept.extend_from_slice(line);
        }
        rest = after;
    }
    kept
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
#[path = "usage_stripper_tests.rs"]
mod tests;
