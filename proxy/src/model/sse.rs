//! Reads the events of a `text/event-stream` as it passes, however it is cut into chunks.
//!
//! The format is that of the HTML standard, section 9.2.6 (html.spec.whatwg.org): lines end with
//! LF, CR or CRLF, an empty line ends an event, several `data` lines of one event are joined by LF.
//! Only data is of interest here; names, ids and comments are passed over. What is kept between two
//! chunks is bounded whatever the stream holds, and the stream itself is never changed.

use memchr::memchr2;

/// Bytes of a line, and of an event's data. An event with more is skipped.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An incremental reader of events. Feed it the chunks of one stream in their order.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The line that has begun and not ended yet.
    line: Vec<u8>,
    /// Data of the event that has begun, where it does not lie in one piece in the current chunk.
    data: Vec<u8>,
    has_data: bool,
    line_is_too_long: bool,
    event_is_too_long: bool,
    /// The last chunk ended with CR: an LF at the next one's begin belongs to it.
    ended_with_cr: bool,
    /// A byte order mark may only stand before the first line.
    first_line_ended: bool,
}

/// What a line says.
enum Line<'a> {
    /// It ends the event.
    Empty,
    Data(&'a [u8]),
    Other,
}

impl Scanner {
    #[must_use]
    pub fn new() -> Self {
        Scanner::default()
    }

    /// Reads a chunk and hands the data of every event that ends in it to `on_data`: a slice of the
    /// chunk where the event lies in it whole and has one data line, else a copy that is joined.
    pub fn feed(&mut self, mut chunk: &[u8], mut on_data: impl FnMut(&[u8])) {
        if self.ended_with_cr && !chunk.is_empty() {
            self.ended_with_cr = false;
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        let mut in_chunk: Option<&[u8]> = None;
        while let Some(end) = memchr2(b'\n', b'\r', chunk) {
            let (piece, rest) = (&chunk[..end], &chunk[end + 1..]);
            let ended_with_cr = chunk[end] == b'\r';
            self.ended_with_cr = ended_with_cr && rest.is_empty();
            chunk = match rest.strip_prefix(b"\n") {
                Some(after) if ended_with_cr => after,
                _ => rest,
            };
            if self.line.is_empty() && !self.line_is_too_long {
                if piece.len() > EVENT_BYTES_MAX {
                    self.event_is_too_long = true;
                    self.first_line_ended = true;
                    continue;
                }
                match self.read(piece) {
                    Line::Empty => self.end_event(in_chunk.take(), &mut on_data),
                    Line::Data(data) if !self.has_data && in_chunk.is_none() => {
                        in_chunk = Some(data);
                    }
                    Line::Data(data) => {
                        if let Some(earlier) = in_chunk.take() {
                            self.keep_data(earlier);
                        }
                        self.keep_data(data);
                    }
                    Line::Other => {}
                }
            } else {
                self.keep_line(piece);
                self.end_kept_line(&mut on_data);
            }
        }
        if let Some(data) = in_chunk {
            self.keep_data(data);
        }
        self.keep_line(chunk);
    }

    /// The stream has ended. Hands out an event that was cut off before its empty line; the standard
    /// drops that one, but its data may be the last that is known of a stream that broke.
    pub fn finish(mut self, mut on_data: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.end_kept_line(&mut on_data);
        }
        self.end_event(None, &mut on_data);
    }

    /// Bytes held between two chunks, for tests of the bound.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.line.capacity() + self.data.capacity()
    }

    fn read<'line>(&mut self, mut line: &'line [u8]) -> Line<'line> {
        if !self.first_line_ended {
            self.first_line_ended = true;
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        match line {
            b"" => Line::Empty,
            b"data" => Line::Data(b""),
            _ => match line.strip_prefix(b"data:") {
                Some(value) => Line::Data(value.strip_prefix(b" ").unwrap_or(value)),
                None => Line::Other,
            },
        }
    }

    fn keep_line(&mut self, piece: &[u8]) {
        if self.line_is_too_long || self.line.len() + piece.len() > EVENT_BYTES_MAX {
            self.line_is_too_long = true;
            self.event_is_too_long = true;
            self.line.clear();
        } else {
            self.line.extend_from_slice(piece);
        }
    }

    fn end_kept_line(&mut self, on_data: &mut impl FnMut(&[u8])) {
        if self.line_is_too_long {
            self.line_is_too_long = false;
            self.first_line_ended = true;
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        match self.read(&line) {
            Line::Empty => self.end_event(None, on_data),
            Line::Data(data) => self.keep_data(data),
            Line::Other => {}
        }
        line.clear();
        self.line = line;
    }

    fn keep_data(&mut self, data: &[u8]) {
        if self.data.len() + data.len() + 1 > EVENT_BYTES_MAX {
            self.event_is_too_long = true;
            self.data.clear();
        }
        if self.event_is_too_long {
            return;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(data);
    }

    fn end_event(&mut self, in_chunk: Option<&[u8]>, on_data: &mut impl FnMut(&[u8])) {
        if !self.event_is_too_long {
            match in_chunk {
                Some(data) => on_data(data),
                None if self.has_data => on_data(&self.data),
                None => {}
            }
        }
        self.data.clear();
        self.has_data = false;
        self.event_is_too_long = false;
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
