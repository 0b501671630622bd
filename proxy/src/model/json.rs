//! An incremental (push) JSON parser: it is fed a text in pieces of any size, and uses bounded memory.
//!
//! A [`Visitor`] selects the values it needs by position: it maps each object member and array element to a
//! position of its own enum (`usage.prompt_tokens`, say), or to [`JsonPosition::IGNORED`]. Ignored values are
//! skipped without being parsed: only their strings and brackets are matched. Short values are passed on whole,
//! long strings in pieces, with escapes resolved. Nothing else is buffered, and a value that lies within one piece
//! takes no allocation.
//!
//! Several documents may follow each other, with or without white space (NDJSON). The parser recovers from invalid
//! JSON (RFC 8259): a missing or malformed value loses that value, and an unexpected byte loses the rest of its
//! document. UTF-8 and control characters in strings are not validated.

use memchr::memchr;

mod literals;
mod names;
mod skip;
mod strings;
mod visitor;

pub use names::NameTable;
use skip::Skip;
use strings::Escape;
pub use visitor::{Container, DocumentEnd, IgnoreAll, Interest, JsonPosition, JsonValue, Visitor};

/// The longest name, number or short string in bytes; longer ones are truncated.
pub const SHORT_BYTES_MAX: usize = 256;
/// Nested containers; deeper ones are skipped.
pub const DEPTH_MAX: usize = 32;

/// What the parser expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A document.
    Document,
    /// A value, after a colon or a comma.
    Value,
    /// The first value of an array, or its end.
    FirstValue,
    /// A name, after a comma.
    Name,
    /// The first name of an object, or its end.
    FirstName,
    Colon,
    /// A comma or the end of the container.
    AfterValue,
    /// The rest of a name.
    InName,
    /// The rest of a string.
    InString,
    /// The rest of a number or a word.
    InLiteral,
    /// The rest of an ignored container.
    Skipping,
    /// The rest of a malformed document.
    Malformed,
}

/// Parses the documents of one text.
#[derive(Clone, Debug)]
pub struct JsonScanner<P> {
    state: State,
    /// The position of the current or next value.
    position: P,
    open: [(P, Container); DEPTH_MAX],
    depth: usize,
    is_flawed: bool,
    skip: Skip,
    escape: Escape,
    /// A name, number or short string that spans pieces or contains escapes.
    held: Vec<u8>,
    held_is_cut: bool,
}

impl<P: JsonPosition> Default for JsonScanner<P> {
    fn default() -> Self {
        JsonScanner::new()
    }
}

impl<P: JsonPosition> JsonScanner<P> {
    #[must_use]
    pub fn new() -> Self {
        JsonScanner {
            state: State::Document,
            position: P::ROOT,
            open: [(P::IGNORED, Container::Object); DEPTH_MAX],
            depth: 0,
            is_flawed: false,
            skip: Skip::default(),
            escape: Escape::default(),
            held: Vec::new(),
            held_is_cut: false,
        }
    }

    /// Parses the next piece of the text.
    pub fn feed<V: Visitor<Position = P>>(&mut self, piece: &[u8], visitor: &mut V) {
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match self.state {
                State::AfterValue => self.behind_value(byte, after, visitor),
                State::Name | State::FirstName => match byte {
                    b'"' => self.name(after, visitor),
                    b'}' => self.close(Container::Object, after, visitor),
                    _ => self.other(byte, after, visitor),
                },
                State::Colon if byte == b':' => {
                    self.state = State::Value;
                    after
                }
                State::Colon => self.other(byte, after, visitor),
                State::Value | State::FirstValue | State::Document if is_space(byte) => after,
                State::Value => self.value(byte, rest, visitor),
                State::FirstValue => self.first_value(byte, rest, visitor),
                // A byte order mark, or the RS of a JSON text sequence (RFC 7464).
                State::Document if matches!(byte, 0xef | 0xbb | 0xbf | 0x1e) => after,
                State::Document => self.value(byte, rest, visitor),
                State::InName => self.name_on(rest, visitor),
                State::InString => self.string_on(rest, visitor),
                State::InLiteral => self.literal_on(rest, visitor),
                State::Skipping => self.skip_on(rest, visitor),
                State::Malformed => self.resume(rest, visitor),
            };
        }
    }

    /// Ends the document; another may follow.
    pub fn end<V: Visitor<Position = P>>(&mut self, visitor: &mut V) {
        match self.state {
            State::InLiteral if self.depth == 0 => {
                self.end_literal(visitor);
                self.value_ended(visitor);
            }
            State::Document | State::Malformed => {}
            _ => visitor.end(DocumentEnd::Truncated),
        }
        self.begin_document();
    }

    /// Whether no document is incomplete.
    #[must_use]
    pub fn is_between_documents(&self) -> bool {
        self.state == State::Document
    }

    /// Bytes held between pieces, for tests of the bound.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.held.capacity()
    }

    fn begin_document(&mut self) {
        self.state = State::Document;
        self.position = P::ROOT;
        self.depth = 0;
        self.is_flawed = false;
        self.held.clear();
    }

    /// Skips to the next line.
    fn give_up<V: Visitor<Position = P>>(&mut self, visitor: &mut V) {
        visitor.end(DocumentEnd::Malformed);
        self.begin_document();
        self.state = State::Malformed;
    }

    fn resume<'a, V>(&mut self, rest: &'a [u8], visitor: &V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        match memchr(b'\n', rest) {
            Some(at) if visitor.resumes() => {
                self.state = State::Document;
                &rest[at + 1..]
            }
            _ => &[],
        }
    }

    /// Continues after a value, and consumes the comma that usually follows it.
    #[inline]
    fn after_value<'a, V>(&mut self, after: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        self.value_ended(visitor);
        match after.split_first() {
            Some((b',', rest)) if self.state == State::AfterValue => {
                self.next(visitor);
                rest
            }
            _ => after,
        }
    }

    /// Handles the byte after a value.
    #[inline]
    fn behind_value<'a, V>(&mut self, byte: u8, after: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        match byte {
            b',' => {
                self.next(visitor);
                after
            }
            b'}' => self.close(Container::Object, after, visitor),
            b']' => self.close(Container::Array, after, visitor),
            _ => self.other(byte, after, visitor),
        }
    }

    /// Handles white space, or an unexpected byte.
    fn other<'a, V>(&mut self, byte: u8, after: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        if !is_space(byte) {
            self.give_up(visitor);
        }
        after
    }

    /// Continues after a comma.
    #[inline]
    fn next<V: Visitor<Position = P>>(&mut self, visitor: &mut V) {
        match self.open[self.depth - 1] {
            (_, Container::Object) => self.state = State::Name,
            (of, Container::Array) => {
                self.state = State::Value;
                self.position = visitor.element(of);
            }
        }
    }

    /// Begins the first element of an array, or ends an empty one.
    fn first_value<'a, V>(&mut self, byte: u8, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        if byte == b']' {
            return self.close(Container::Array, &rest[1..], visitor);
        }
        let (of, _) = self.open[self.depth - 1];
        self.position = visitor.element(of);
        self.state = State::Value;
        rest
    }

    /// Begins a value with `byte`, the first of `rest`.
    fn value<'a, V>(&mut self, byte: u8, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        let after = &rest[1..];
        match byte {
            b'{' => self.begin(Container::Object, visitor),
            b'[' => self.begin(Container::Array, visitor),
            b'"' => return self.string(after, visitor),
            b',' | b'}' | b']' if self.state != State::Document => {
                // The value is missing.
                self.is_flawed = true;
                self.state = State::AfterValue;
                return rest;
            }
            b'-' | b'+' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                return self.literal(rest, visitor);
            }
            _ => self.give_up(visitor),
        }
        after
    }

    fn begin<V: Visitor<Position = P>>(&mut self, container: Container, visitor: &mut V) {
        if self.position == P::IGNORED || self.depth == DEPTH_MAX {
            self.skip = Skip::inside(container);
            self.state = State::Skipping;
            return;
        }
        self.open[self.depth] = (self.position, container);
        self.depth += 1;
        visitor.open(self.position, container);
        match container {
            Container::Object => self.state = State::FirstName,
            Container::Array => self.state = State::FirstValue,
        }
    }

    fn close<'a, V>(&mut self, container: Container, after: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Position = P>,
    {
        let (position, begun) = self.open[self.depth - 1];
        if begun != container {
            self.give_up(visitor);
            return after;
        }
        self.is_flawed |= self.state == State::Name;
        self.depth -= 1;
        visitor.close(position, container);
        self.after_value(after, visitor)
    }

    #[inline]
    fn value_ended<V: Visitor<Position = P>>(&mut self, visitor: &mut V) {
        self.state = State::AfterValue;
        if self.depth == 0 {
            visitor.end(match self.is_flawed {
                true => DocumentEnd::Flawed,
                false => DocumentEnd::Closed,
            });
            self.begin_document();
        }
    }

    /// Buffers a piece of a short value.
    fn hold(&mut self, piece: &[u8]) {
        let room = SHORT_BYTES_MAX - self.held.len();
        self.held_is_cut |= piece.len() > room;
        self.held.extend_from_slice(&piece[..room.min(piece.len())]);
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests;
