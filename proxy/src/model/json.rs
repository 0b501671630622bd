//! Reads JSON that is pushed piece by piece, in bounded memory, however it is cut.
//!
//! What is of interest is named by places: a visitor maps each member of an object and each element of an
//! array to the place where it stands (`usage.prompt_tokens`, say), and [`Place::NOWHERE`] to what it does
//! not want. What is nowhere is skipped without a look inside: its strings and brackets are followed, and
//! nothing else of it is checked. Short values are handed on whole, texts in pieces, with their escapes
//! resolved; nothing else is ever held, and nothing is ever allocated for a value that lies in one piece.
//!
//! Several documents may follow each other, with or without white space (NDJSON). What is not quite JSON
//! (RFC 8259) costs as little as possible: a missing or malformed value costs that value, and a byte in the
//! wrong place the rest of its document. UTF-8 and control characters in strings are not checked.

use memchr::memchr;

mod literals;
mod names;
mod skip;
mod strings;
mod visitor;

pub use names::Names;
use skip::Skip;
use strings::Escape;
pub use visitor::{Container, End, Place, Unseen, Value, Visitor, Wants};

/// Bytes of a name, a number and a short string; what is longer is cut.
pub const SHORT_BYTES_MAX: usize = 256;
/// Containers in each other; what lies deeper is skipped.
pub const DEPTH_MAX: usize = 32;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A document.
    Document,
    /// A value, behind a colon or a comma.
    Value,
    /// A value, or the end of an array that has just begun.
    FirstValue,
    /// A name, behind a comma.
    Name,
    /// A name, or the end of an object that has just begun.
    FirstName,
    Colon,
    /// What follows a value in a container.
    AfterValue,
    /// The rest of a name.
    InName,
    /// The rest of a string.
    InString,
    /// The rest of a number or a word.
    InLiteral,
    /// The rest of a container that is skipped.
    Skipping,
    /// The rest of a document that is none.
    Malformed,
}

/// The reader of the documents of one text.
#[derive(Debug)]
pub struct Scanner<P> {
    state: State,
    /// The place of the value that comes or has begun.
    place: P,
    open: [(P, Container); DEPTH_MAX],
    depth: usize,
    is_flawed: bool,
    skip: Skip,
    escape: Escape,
    /// A name, a number or a short string that does not lie in one piece, or has escapes.
    held: Vec<u8>,
    held_is_cut: bool,
}

impl<P: Place> Default for Scanner<P> {
    fn default() -> Self {
        Scanner::new()
    }
}

impl<P: Place> Scanner<P> {
    #[must_use]
    pub fn new() -> Self {
        Scanner {
            state: State::Document,
            place: P::ROOT,
            open: [(P::NOWHERE, Container::Object); DEPTH_MAX],
            depth: 0,
            is_flawed: false,
            skip: Skip::default(),
            escape: Escape::default(),
            held: Vec::new(),
            held_is_cut: false,
        }
    }

    /// Reads the next piece of the text.
    pub fn feed<V: Visitor<Place = P>>(&mut self, piece: &[u8], visitor: &mut V) {
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
                // A byte order mark, which some put before a text, or the RS of a sequence (RFC 7464).
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

    /// Nothing more comes of the document, or of the text. Another one may follow.
    pub fn end<V: Visitor<Place = P>>(&mut self, visitor: &mut V) {
        match self.state {
            State::InLiteral if self.depth == 0 => {
                self.end_literal(visitor);
                self.value_ended(visitor);
            }
            State::Document | State::Malformed => {}
            _ => visitor.end(End::Cut),
        }
        self.begin_document();
    }

    /// Whether no document has begun that is not ended.
    #[must_use]
    pub fn is_between_documents(&self) -> bool {
        self.state == State::Document
    }

    /// Bytes held between two pieces, for tests of the bound.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.held.capacity()
    }

    fn begin_document(&mut self) {
        self.state = State::Document;
        self.place = P::ROOT;
        self.depth = 0;
        self.is_flawed = false;
        self.held.clear();
    }

    /// Takes nothing more up to the next line.
    fn give_up<V: Visitor<Place = P>>(&mut self, visitor: &mut V) {
        visitor.end(End::Malformed);
        self.begin_document();
        self.state = State::Malformed;
    }

    fn resume<'a, V>(&mut self, rest: &'a [u8], visitor: &V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        match memchr(b'\n', rest) {
            Some(at) if visitor.resumes() => {
                self.state = State::Document;
                &rest[at + 1..]
            }
            _ => &[],
        }
    }

    /// Goes on behind a value: the comma that mostly follows it is taken with it.
    #[inline]
    fn after_value<'a, V>(&mut self, after: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
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

    /// Reads a byte behind a value.
    #[inline]
    fn behind_value<'a, V>(&mut self, byte: u8, after: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
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

    /// Reads a byte that has no meaning where it stands.
    fn other<'a, V>(&mut self, byte: u8, after: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        if !is_space(byte) {
            self.give_up(visitor);
        }
        after
    }

    /// Behind a comma.
    #[inline]
    fn next<V: Visitor<Place = P>>(&mut self, visitor: &mut V) {
        match self.open[self.depth - 1] {
            (_, Container::Object) => self.state = State::Name,
            (of, Container::Array) => {
                self.state = State::Value;
                self.place = visitor.element(of);
            }
        }
    }

    /// Begins the first element of an array, or ends it without one.
    fn first_value<'a, V>(&mut self, byte: u8, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        if byte == b']' {
            return self.close(Container::Array, &rest[1..], visitor);
        }
        let (of, _) = self.open[self.depth - 1];
        self.place = visitor.element(of);
        self.state = State::Value;
        rest
    }

    /// Begins a value with `byte`, the first of `rest`.
    fn value<'a, V>(&mut self, byte: u8, rest: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        let after = &rest[1..];
        match byte {
            b'{' => self.begin(Container::Object, visitor),
            b'[' => self.begin(Container::Array, visitor),
            b'"' => return self.string(after, visitor),
            b',' | b'}' | b']' if self.state != State::Document => {
                // There is no value: what follows one is met.
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

    fn begin<V: Visitor<Place = P>>(&mut self, container: Container, visitor: &mut V) {
        if self.place == P::NOWHERE || self.depth == DEPTH_MAX {
            self.skip = Skip::inside(container);
            self.state = State::Skipping;
            return;
        }
        self.open[self.depth] = (self.place, container);
        self.depth += 1;
        visitor.open(self.place, container);
        match container {
            Container::Object => self.state = State::FirstName,
            Container::Array => self.state = State::FirstValue,
        }
    }

    fn close<'a, V>(&mut self, container: Container, after: &'a [u8], visitor: &mut V) -> &'a [u8]
    where
        V: Visitor<Place = P>,
    {
        let (place, begun) = self.open[self.depth - 1];
        if begun != container {
            self.give_up(visitor);
            return after;
        }
        self.is_flawed |= self.state == State::Name;
        self.depth -= 1;
        visitor.close(place, container);
        self.after_value(after, visitor)
    }

    #[inline]
    fn value_ended<V: Visitor<Place = P>>(&mut self, visitor: &mut V) {
        self.state = State::AfterValue;
        if self.depth == 0 {
            visitor.end(match self.is_flawed {
                true => End::Flawed,
                false => End::Closed,
            });
            self.begin_document();
        }
    }

    /// Holds a piece of a short value.
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
