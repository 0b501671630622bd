//! Takes out of a stream of chat completions what only weir asked for: the chunk that tells the usage, as a
//! whole event. Every other byte goes on as it came.
//!
//! Events are those of the HTML standard, section 9.2.6. One is held only until it is known not to be that
//! chunk, which is before its content begins; comments, which keep connections open, are never held up.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use memchr::memchr2;

use crate::model::usage_chunk::{Looks, UsageChunk};

/// An event with more than this is not the chunk.
const HELD_BYTES_MAX: usize = 64 * 1024;

const BYTE_ORDER_MARK: [u8; 3] = *b"\xef\xbb\xbf";

/// Takes the chunk out of the pieces of one stream.
#[derive(Debug, Default)]
pub(crate) struct UsageWithheld {
    event: Event,
    line: Line,
    /// What the data of the event looks like, while that is held.
    look: UsageChunk,
    data: Data,
    /// What came of the held event before the current piece.
    held: Vec<u8>,
    cr: Cr,
    /// So much of a byte order mark may still stand at the begin of the stream.
    mark: Range<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Event {
    /// None has begun; comments may have come.
    #[default]
    None,
    /// It may be the chunk.
    Held,
    /// It is not the chunk, and goes on.
    Passing,
}

/// Whether the event has a line of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Data {
    #[default]
    None,
    Some,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Begin,
    /// So many bytes of `data` have come.
    Name(usize),
    /// TrailingBytes the colon, where a space may stand.
    Colon,
    Data,
    /// A comment, or a field that does not matter.
    Other,
}

/// Whether the byte before was a CR: an LF behind it is of the same line end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Cr {
    #[default]
    None,
    Kept,
    /// It was the last of an event that was taken out.
    TakenOut,
}

impl UsageWithheld {
    pub(crate) fn new() -> Self {
        UsageWithheld {
            mark: 0..BYTE_ORDER_MARK.len(),
            ..UsageWithheld::default()
        }
    }

    /// What goes on to the client: of this piece, and of what was held of those before.
    pub(crate) fn feed(&mut self, piece: &Bytes) -> Bytes {
        let mut kept = Kept::of(piece);
        // Where what has not been dealt with begins: the held event, if there is one.
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
                if cr == Cr::TakenOut {
                    from = at;
                }
                continue;
            }
            if self.line == Line::Begin && is_line_end(byte) {
                at += 1;
                let is_chunk = self.is_chunk();
                if is_chunk {
                    self.held.extend_from_slice(&piece[from..at]);
                    kept.copy(&comments(&std::mem::take(&mut self.held)));
                    from = at;
                }
                self.release(&mut kept);
                self.event = Event::None;
                self.cr = match byte {
                    b'\r' if is_chunk => Cr::TakenOut,
                    b'\r' => Cr::Kept,
                    _ => Cr::None,
                };
                continue;
            }
            if self.line == Line::Begin && self.begins_event(byte) {
                kept.keep(from..at);
                from = at;
            }
            let (read, looks) = self.read_line(&piece[at..]);
            at += read;
            if looks == Looks::Otherwise || self.held.len() + at - from > HELD_BYTES_MAX {
                self.release(&mut kept);
            }
        }
        match self.event {
            Event::Held => self.held.extend_from_slice(&piece[from..]),
            Event::None | Event::Passing => kept.keep(from..piece.len()),
        }
        kept.into_bytes()
    }

    /// What goes on of what was held when the stream ended: all, unless it is the chunk without its last line end.
    pub(crate) fn finish(self) -> Bytes {
        match self.is_chunk() {
            true => comments(&self.held).into(),
            false => self.held.into(),
        }
    }

    /// Whether all that came has gone on, or never will.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn is_chunk(&self) -> bool {
        self.event == Event::Held && self.data == Data::Some && self.look.is_whole()
    }

    /// The event is not the chunk, if one is held.
    fn release(&mut self, kept: &mut Kept<'_>) {
        if self.event == Event::Held {
            self.event = Event::Passing;
            kept.copy(&self.held);
            self.held.clear();
        }
    }

    /// Begins a line that is not empty. Whether an event begins with it.
    fn begins_event(&mut self, byte: u8) -> bool {
        self.line = match (self.event, byte) {
            (Event::Passing, _) | (_, b':') => Line::Other,
            (Event::None | Event::Held, _) => Line::Name(0),
        };
        let begins = self.event == Event::None && self.line != Line::Other;
        if begins {
            self.event = Event::Held;
            self.look = UsageChunk::default();
            self.data = Data::None;
        }
        begins
    }

    /// Reads on in a line; how many bytes, and what the event looks like then.
    fn read_line(&mut self, rest: &[u8]) -> (usize, Looks) {
        let first = rest.first().copied().unwrap_or(b'\n');
        let mut looks = Looks::LikeUsage;
        let (line, read) = match self.line {
            Line::Name(4) if first == b':' || is_line_end(first) => {
                if std::mem::replace(&mut self.data, Data::Some) == Data::Some {
                    looks = self.look.feed(b"\n");
                }
                match first {
                    b':' => (Line::Colon, 1),
                    _ => (Line::Other, 0),
                }
            }
            Line::Name(count) if b"data".get(count) == Some(&first) => (Line::Name(count + 1), 1),
            Line::Name(_) => (Line::Other, 0),
            Line::Colon => (Line::Data, usize::from(first == b' ')),
            Line::Begin | Line::Data | Line::Other => {
                let end = memchr2(b'\n', b'\r', rest);
                let text = &rest[..end.unwrap_or(rest.len())];
                if self.line == Line::Data && self.event == Event::Held {
                    looks = self.look.feed(text);
                }
                match end {
                    Some(end) if rest[end] == b'\r' => {
                        self.cr = Cr::Kept;
                        (Line::Begin, end + 1)
                    }
                    Some(end) => (Line::Begin, end + 1),
                    None => (self.line, rest.len()),
                }
            }
        };
        self.line = line;
        (read, looks)
    }
}

/// What goes on of one piece, without a copy where it lies together.
struct Kept<'a> {
    piece: &'a Bytes,
    copied: Vec<u8>,
    last: Range<usize>,
}

impl<'a> Kept<'a> {
    fn of(piece: &'a Bytes) -> Self {
        Kept {
            piece,
            copied: Vec::new(),
            last: 0..0,
        }
    }

    fn keep(&mut self, range: Range<usize>) {
        if self.last.end == range.start {
            self.last.end = range.end;
        } else if !range.is_empty() {
            self.copy(b"");
            self.last = range;
        }
    }

    /// Keeps bytes that do not lie in the piece, behind those that do.
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

/// Takes out of the fields of an answer those that were made of all its bytes.
pub(crate) fn forget_digests(fields: &mut HeaderMap) {
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

/// The comments among the lines of an event, which are none of its data.
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
#[path = "withheld_tests.rs"]
mod tests;
