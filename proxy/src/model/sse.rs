//! An incremental parser of server-sent events (`text/event-stream`), fed in chunks of any size.
//!
//! The format is that of the HTML standard, section 9.2.6 (html.spec.whatwg.org): lines end with LF, CR or CRLF,
//! an empty line ends an event, and the `data` lines of an event are joined by LF. Names and data are parsed; ids
//! and comments are ignored. [`SseParser`] passes data on in pieces and holds next to nothing; [`SseDataReader`]
//! buffers the data of an event, up to a bound.

use memchr::memchr2;

/// The most data of an event that an [`SseDataReader`] holds. Larger events are skipped.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;
/// The longest event name in bytes; longer ones are truncated.
const NAME_BYTES_MAX: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Enough of a line to know its field: a byte order mark and `event:`.
const FIELD_BYTES_MAX: usize = 9;

/// Receives the events of a stream.
pub trait SseSink {
    /// The next piece of the data of the current event; empty data is one empty piece.
    fn data(&mut self, piece: &[u8]);

    /// The name of the current event. The last one counts.
    fn name(&mut self, _name: &[u8]) {}

    /// The current event ends. It had a name or data.
    fn end(&mut self);
}

/// Parses one stream; feed it the chunks in order.
#[derive(Clone, Debug, Default)]
pub struct SseParser {
    line: LineField,
    /// The start of a line, or a name, that spans chunks.
    held: Vec<u8>,
    event: EventContent,
    /// Whether the last chunk ended with CR: a following LF belongs to the same line end.
    ended_with_cr: bool,
    /// A byte order mark is allowed only before the first line.
    first_line_began: bool,
}

/// The field of the current line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineField {
    /// Not known yet.
    #[default]
    Undetermined,
    /// Data, of which nothing has arrived: a leading space is dropped.
    DataBegun,
    Data,
    NameBegun,
    Name,
    Other,
}

/// What has arrived of the current event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EventContent {
    #[default]
    Nothing,
    Name,
    Data,
}

impl SseParser {
    #[must_use]
    pub fn new() -> Self {
        SseParser::default()
    }

    /// Reads a chunk.
    pub fn feed(&mut self, mut chunk: &[u8], sink: &mut impl SseSink) {
        if self.ended_with_cr && !chunk.is_empty() {
            self.ended_with_cr = false;
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        while let Some(end) = memchr2(b'\n', b'\r', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            let ended_with_cr = chunk[end] == b'\r';
            self.ended_with_cr = ended_with_cr && rest.is_empty();
            chunk = match rest.strip_prefix(b"\n") {
                Some(after) if ended_with_cr => after,
                _ => rest,
            };
            self.read(line, sink);
            self.end_line(sink);
        }
        self.read(chunk, sink);
    }

    /// Ends the stream, and the event that was cut off before its empty line: the standard drops it, but it may
    /// hold the last data of a broken stream.
    pub fn finish(mut self, sink: &mut impl SseSink) {
        if self.line != LineField::Undetermined || !self.held.is_empty() {
            self.end_line(sink);
        }
        self.end_event(sink);
    }

    /// Whether no event and no line is incomplete.
    #[must_use]
    pub fn is_between_events(&self) -> bool {
        self.event == EventContent::Nothing
            && self.line == LineField::Undetermined
            && self.held.is_empty()
    }

    /// Bytes held between chunks, for tests of the bound.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Parses a piece of a line, without its end.
    fn read(&mut self, mut piece: &[u8], sink: &mut impl SseSink) {
        if piece.is_empty() {
            return;
        }
        if self.line == LineField::Undetermined {
            match self.field(piece) {
                Some(value) => piece = value,
                None => return,
            }
        }
        match self.line {
            LineField::Undetermined | LineField::Other => {}
            LineField::DataBegun => {
                if let Some(&first) = piece.first() {
                    self.line = LineField::Data;
                    let value = match first {
                        b' ' => &piece[1..],
                        _ => piece,
                    };
                    self.data(value, sink);
                }
            }
            LineField::Data => sink.data(piece),
            LineField::NameBegun | LineField::Name => {
                if self.line == LineField::NameBegun && !piece.is_empty() {
                    self.line = LineField::Name;
                    piece = piece.strip_prefix(b" ").unwrap_or(piece);
                }
                let room = NAME_BYTES_MAX - self.held.len();
                self.held.extend_from_slice(&piece[..room.min(piece.len())]);
            }
        }
    }

    /// Determines the field of a line that consists of the held bytes and `piece`; returns what follows the colon.
    /// While the field is not known, holds the bytes.
    fn field<'a>(&mut self, piece: &'a [u8]) -> Option<&'a [u8]> {
        if self.held.is_empty()
            && let Some(value) = piece.strip_prefix(b"data:")
        {
            self.first_line_began = true;
            self.line = LineField::DataBegun;
            return Some(value);
        }
        let room = FIELD_BYTES_MAX - self.held.len();
        let (head, _) = piece.split_at(room.min(piece.len()));
        let colon = memchr::memchr(b':', head);
        let before = self.held.len();
        self.held
            .extend_from_slice(&head[..colon.unwrap_or(head.len())]);
        if colon.is_none() && self.held.len() < FIELD_BYTES_MAX {
            return None;
        }
        self.line = match (self.name_of_field(), colon) {
            (b"data", Some(_)) => LineField::DataBegun,
            (b"event", Some(_)) => LineField::NameBegun,
            _ => LineField::Other,
        };
        self.first_line_began = true;
        let taken = self.held.len() - before;
        self.held.clear();
        piece.get(taken + 1..)
    }

    fn name_of_field(&self) -> &[u8] {
        match self.first_line_began {
            true => &self.held,
            false => self
                .held
                .strip_prefix(BYTE_ORDER_MARK)
                .unwrap_or(&self.held),
        }
    }

    fn data(&mut self, piece: &[u8], sink: &mut impl SseSink) {
        if self.event == EventContent::Data {
            sink.data(b"\n");
        }
        self.event = EventContent::Data;
        sink.data(piece);
    }

    fn end_line(&mut self, sink: &mut impl SseSink) {
        match self.line {
            LineField::Undetermined => match self.name_of_field() {
                b"" => self.end_event(sink),
                b"data" => self.data(b"", sink),
                _ => {}
            },
            LineField::DataBegun => self.data(b"", sink),
            LineField::NameBegun | LineField::Name => {
                if self.event == EventContent::Nothing {
                    self.event = EventContent::Name;
                }
                sink.name(&self.held);
            }
            LineField::Data | LineField::Other => {}
        }
        self.first_line_began = true;
        self.line = LineField::Undetermined;
        self.held.clear();
    }

    fn end_event(&mut self, sink: &mut impl SseSink) {
        if std::mem::take(&mut self.event) != EventContent::Nothing {
            sink.end();
        }
    }
}

/// Reads events, and passes on the data of each in one piece.
#[derive(Debug, Default)]
pub struct SseDataReader {
    events: SseParser,
    held: HeldEvent,
}

/// The data of the current event.
#[derive(Debug, Default)]
struct HeldEvent {
    data: Vec<u8>,
    has_data: bool,
    is_too_long: bool,
}

/// Buffers data up to the end of its event.
struct HoldingSink<'a, F> {
    held: &'a mut HeldEvent,
    on_data: F,
}

impl<F: FnMut(&[u8])> SseSink for HoldingSink<'_, F> {
    fn data(&mut self, piece: &[u8]) {
        let held = &mut *self.held;
        held.has_data = true;
        if held.is_too_long || held.data.len() + piece.len() > EVENT_BYTES_MAX {
            held.is_too_long = true;
            held.data.clear();
        } else {
            held.data.extend_from_slice(piece);
        }
    }

    fn end(&mut self) {
        if self.held.has_data && !self.held.is_too_long {
            (self.on_data)(&self.held.data);
        }
        self.held.data.clear();
        self.held.has_data = false;
        self.held.is_too_long = false;
    }
}

impl SseDataReader {
    #[must_use]
    pub fn new() -> Self {
        SseDataReader::default()
    }

    /// Reads a chunk, and passes the data of every event that ends in it to `on_data`.
    pub fn feed(&mut self, chunk: &[u8], on_data: impl FnMut(&[u8])) {
        let held = &mut self.held;
        self.events.feed(chunk, &mut HoldingSink { held, on_data });
    }

    /// Ends the stream, and passes on the event that was cut off before its empty line.
    pub fn finish(mut self, on_data: impl FnMut(&[u8])) {
        let held = &mut self.held;
        self.events.finish(&mut HoldingSink { held, on_data });
    }

    /// Bytes held between chunks, for tests of the bound.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.events.held_bytes() + self.held.data.capacity()
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
