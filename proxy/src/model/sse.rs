//! Reads the events of a `text/event-stream` as it passes, however it is cut into chunks.
//!
//! The format is that of the HTML standard, section 9.2.6 (html.spec.whatwg.org): lines end with
//! LF, CR or CRLF, an empty line ends an event, several `data` lines of one event are joined by LF.
//! Only names and data are of interest here; ids and comments are passed over. [`Events`] hands data on
//! in pieces and holds next to nothing, whatever the stream is; [`Scanner`] holds the data of an event, up
//! to a bound. The stream itself is never changed.

use memchr::memchr2;

/// Bytes of an event's data that a [`Scanner`] holds. An event with more is skipped.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an event's name; a longer one is cut.
const NAME_BYTES_MAX: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Of a line whose field is not known yet so much is held: a byte order mark and `event:`.
const FIELD_BYTES_MAX: usize = 9;

/// Receives the events of a stream.
pub trait Sink {
    /// The next piece of the data of the event that has begun; of data that is empty, one that is empty.
    fn data(&mut self, piece: &[u8]);

    /// The name of the event that has begun, if it has one. The last counts.
    fn name(&mut self, _name: &[u8]) {}

    /// The event that has begun ends. It had a name or data.
    fn end(&mut self);
}

/// An incremental reader of events, in pieces. Feed it the chunks of one stream in their order.
#[derive(Debug, Default)]
pub struct Events {
    line: Line,
    /// The begin of a line, or a name, that does not lie in one piece.
    held: Vec<u8>,
    event: Event,
    /// The last chunk ended with CR: an LF at the next one's begin belongs to it.
    ended_with_cr: bool,
    /// A byte order mark may only stand before the first line.
    first_line_began: bool,
}

/// The line that has begun and not ended yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// Its field is not known yet, as far as it is held.
    #[default]
    Begun,
    /// Data, of which nothing has come: a space may stand before it.
    DataBegun,
    Data,
    NameBegun,
    Name,
    Other,
}

/// What has come of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Event {
    #[default]
    Nothing,
    Name,
    Data,
}

impl Events {
    #[must_use]
    pub fn new() -> Self {
        Events::default()
    }

    /// Reads a chunk.
    pub fn feed(&mut self, mut chunk: &[u8], sink: &mut impl Sink) {
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

    /// The stream has ended. Ends an event that was cut off before its empty line; the standard drops
    /// that one, but its data may be the last that is known of a stream that broke.
    pub fn finish(mut self, sink: &mut impl Sink) {
        if self.line != Line::Begun || !self.held.is_empty() {
            self.end_line(sink);
        }
        self.end_event(sink);
    }

    /// Whether no event has begun that is not ended, nor a line.
    #[must_use]
    pub fn is_between_events(&self) -> bool {
        self.event == Event::Nothing && self.line == Line::Begun && self.held.is_empty()
    }

    /// Bytes held between two chunks, for tests of the bound.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Reads a piece of a line, without its end.
    fn read(&mut self, mut piece: &[u8], sink: &mut impl Sink) {
        if piece.is_empty() {
            return;
        }
        if self.line == Line::Begun {
            match self.field(piece) {
                Some(value) => piece = value,
                None => return,
            }
        }
        match self.line {
            Line::Begun | Line::Other => {}
            Line::DataBegun => {
                if let Some(&first) = piece.first() {
                    self.line = Line::Data;
                    let value = match first {
                        b' ' => &piece[1..],
                        _ => piece,
                    };
                    self.data(value, sink);
                }
            }
            Line::Data => sink.data(piece),
            Line::NameBegun | Line::Name => {
                if self.line == Line::NameBegun && !piece.is_empty() {
                    self.line = Line::Name;
                    piece = piece.strip_prefix(b" ").unwrap_or(piece);
                }
                let room = NAME_BYTES_MAX - self.held.len();
                self.held.extend_from_slice(&piece[..room.min(piece.len())]);
            }
        }
    }

    /// Finds the field of a line that has begun with what is held and goes on with `piece`, and gives what
    /// follows its colon. What is not decided yet is held.
    fn field<'a>(&mut self, piece: &'a [u8]) -> Option<&'a [u8]> {
        if self.held.is_empty()
            && let Some(value) = piece.strip_prefix(b"data:")
        {
            self.first_line_began = true;
            self.line = Line::DataBegun;
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
            (b"data", Some(_)) => Line::DataBegun,
            (b"event", Some(_)) => Line::NameBegun,
            _ => Line::Other,
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

    fn data(&mut self, piece: &[u8], sink: &mut impl Sink) {
        if self.event == Event::Data {
            sink.data(b"\n");
        }
        self.event = Event::Data;
        sink.data(piece);
    }

    fn end_line(&mut self, sink: &mut impl Sink) {
        match self.line {
            Line::Begun => match self.name_of_field() {
                b"" => self.end_event(sink),
                b"data" => self.data(b"", sink),
                _ => {}
            },
            Line::DataBegun => self.data(b"", sink),
            Line::NameBegun | Line::Name => {
                if self.event == Event::Nothing {
                    self.event = Event::Name;
                }
                sink.name(&self.held);
            }
            Line::Data | Line::Other => {}
        }
        self.first_line_began = true;
        self.line = Line::Begun;
        self.held.clear();
    }

    fn end_event(&mut self, sink: &mut impl Sink) {
        if std::mem::take(&mut self.event) != Event::Nothing {
            sink.end();
        }
    }
}

/// An incremental reader of events that hands out the data of each as one.
#[derive(Debug, Default)]
pub struct Scanner {
    events: Events,
    held: Held,
}

/// The data of the event that has begun.
#[derive(Debug, Default)]
struct Held {
    data: Vec<u8>,
    has_data: bool,
    is_too_long: bool,
}

/// Holds data, and hands it out at its end.
struct Holding<'a, F> {
    held: &'a mut Held,
    on_data: F,
}

impl<F: FnMut(&[u8])> Sink for Holding<'_, F> {
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

impl Scanner {
    #[must_use]
    pub fn new() -> Self {
        Scanner::default()
    }

    /// Reads a chunk and hands the data of every event that ends in it to `on_data`.
    pub fn feed(&mut self, chunk: &[u8], on_data: impl FnMut(&[u8])) {
        let held = &mut self.held;
        self.events.feed(chunk, &mut Holding { held, on_data });
    }

    /// The stream has ended. Hands out an event that was cut off before its empty line.
    pub fn finish(mut self, on_data: impl FnMut(&[u8])) {
        let held = &mut self.held;
        self.events.finish(&mut Holding { held, on_data });
    }

    /// Bytes held between two chunks, for tests of the bound.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.events.held_bytes() + self.held.data.capacity()
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
