//! Canonical JSON: one text for all equal JSON texts.
//!
//! Members are sorted, insignificant whitespace is removed, and strings are unescaped; numbers stay as they are
//! written, because `1`, `1.0` and `1e0` are different to some parsers and a wrong hit is worse than a miss. The text
//! is only hashed: it is unambiguous, but not JSON (a line break in a string is not escaped).
//!
//! The source is parsed once, without a tree, and shown to visitors on the way (`canonical/shown.rs`). Scalars are
//! written in their order; objects whose members are out of order are sorted in a second pass. Both passes are linear
//! in the source, however objects are nested; what is sorted is bounded.

use std::cell::Cell;

use super::statefulness::Statefulness;
use crate::model::json::{Container, DocumentEnd, JsonValue, Visitor};
use shown::Places;

mod plain;
mod scalar;
mod shown;

/// Nested arrays and objects; no real request has more.
const DEPTH_MAX: u32 = 64;
/// Members that are sorted at once: more than any real request has, and few enough that the worst body takes a
/// worker only a few milliseconds.
const MEMBERS_MAX: usize = 65_536;

/// Why a body has no canonical text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCanonical {
    /// Not a complete JSON value (RFC 8259) in UTF-8, or a string with half a surrogate pair.
    NotJson,
    /// JSON, but not an object.
    NotAnObject,
    /// Two members of an object have the same name: parsers disagree on which of them counts.
    DuplicateMember,
    TooDeep,
    /// 4 GiB or more, or too many members to sort.
    TooLarge,
}

/// A worker keeps scratch buffers for texts up to this size.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// The scratch buffers of a worker.
#[derive(Default)]
struct Scratch {
    text: Vec<u8>,
    sorted: Vec<u8>,
    open_members: Vec<Member>,
    sorted_members: Vec<Member>,
    objects: Vec<Unsorted>,
}

/// The canonical text of a JSON object, for tests and the fuzzer.
///
/// # Errors
/// It has none.
#[cfg(any(test, fuzzing))]
pub(crate) fn text_of(source: &[u8]) -> Result<Vec<u8>, NotCanonical> {
    let (statefulness, mut visitor) = (Statefulness::new(None), crate::model::json::IgnoreAll);
    canonical(source, statefulness, &mut visitor, |text, _| text.to_vec())
}

/// Passes the canonical text of a JSON object, never longer than `source`, and its `statefulness` to `read`. The
/// object is shown to `visitor` on the way, its end only if it has a canonical text.
pub(super) fn canonical<V: Visitor, T>(
    source: &[u8],
    statefulness: Statefulness,
    visitor: &mut V,
    read: impl FnOnce(&[u8], Statefulness) -> T,
) -> Result<T, NotCanonical> {
    if u32::try_from(source.len()).is_err() {
        return Err(NotCanonical::TooLarge);
    }
    std::str::from_utf8(source).map_err(|_| NotCanonical::NotJson)?;
    let mut scratch = SCRATCH.take();
    scratch.clear();
    scratch.text.reserve(source.len());
    let mut reader = Reader {
        source,
        at: 0,
        text: scratch.text,
        open_members: scratch.open_members,
        sorted_members: scratch.sorted_members,
        objects: scratch.objects,
        statefulness,
        visitor,
    };
    let whole = reader.complete_object();
    let statefulness = reader.statefulness;
    let outcome = whole.map(|()| read(reader.in_order(&mut scratch.sorted), statefulness));
    if reader.text.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(Scratch {
            text: reader.text,
            sorted: scratch.sorted,
            open_members: reader.open_members,
            sorted_members: reader.sorted_members,
            objects: reader.objects,
        });
    }
    outcome
}

impl Scratch {
    fn clear(&mut self) {
        self.text.clear();
        self.sorted.clear();
        self.open_members.clear();
        self.sorted_members.clear();
        self.objects.clear();
    }
}

struct Reader<'a, V: Visitor> {
    source: &'a [u8],
    at: usize,
    /// The canonical text, but with members in the order of the source.
    text: Vec<u8>,
    /// Members of the objects that are being parsed, the innermost object's last.
    open_members: Vec<Member>,
    /// Members of the objects below, each object's in canonical order.
    sorted_members: Vec<Member>,
    /// Objects whose members are not in order in `text`.
    objects: Vec<Unsorted>,
    statefulness: Statefulness,
    visitor: &'a mut V,
}

/// A member's place in the text: its name from `start` to `name_end`, all of it to `end`.
#[derive(Clone, Copy)]
struct Member {
    start: u32,
    name_end: u32,
    end: u32,
}

/// An object's place in the text, and its members' place in `sorted_members`.
struct Unsorted {
    start: u32,
    end: u32,
    first_member: u32,
    last_member: u32,
}

impl<V: Visitor> Reader<'_, V> {
    fn complete_object(&mut self) -> Result<(), NotCanonical> {
        let first = self.next_significant();
        self.value(0, Places::ROOT)?;
        if self.next_significant().is_some() {
            return Err(NotCanonical::NotJson);
        }
        match first {
            Some(b'{') => {
                self.visitor.end(DocumentEnd::Closed);
                Ok(())
            }
            _ => Err(NotCanonical::NotAnObject),
        }
    }

    /// Skips whitespace; the byte after it, which is not consumed.
    #[inline]
    fn next_significant(&mut self) -> Option<u8> {
        while let Some(&byte) = self.source.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Consumes `byte`, the next one, and adds it to the text.
    #[inline]
    fn pass(&mut self, byte: u8) {
        self.at += 1;
        self.text.push(byte);
    }

    /// The end of the text; it is shorter than the source, which is shorter than 4 GiB.
    #[inline]
    fn text_end(&self) -> u32 {
        self.text.len() as u32
    }

    fn value(&mut self, depth: u32, at: Places<V::Position>) -> Result<(), NotCanonical> {
        match self.next_significant() {
            Some(b'"') => {
                let start = self.text.len();
                let escapes = self.string()?;
                self.show_string(at, start, escapes);
                Ok(())
            }
            Some(b'{') => self.object(depth, at.within_depth(depth)),
            Some(b'[') => self.array(depth, at.within_depth(depth)),
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                self.number()?;
                self.show_number(at, start);
                Ok(())
            }
            Some(b't') => self.literal(b"true", JsonValue::True, at),
            Some(b'f') => self.literal(b"false", JsonValue::False, at),
            Some(b'n') => self.literal(b"null", JsonValue::Null, at),
            _ => Err(NotCanonical::NotJson),
        }
    }

    fn literal(
        &mut self,
        literal: &[u8],
        value: JsonValue<'_>,
        at: Places<V::Position>,
    ) -> Result<(), NotCanonical> {
        if !self.source[self.at..].starts_with(literal) {
            return Err(NotCanonical::NotJson);
        }
        self.at += literal.len();
        self.text.extend_from_slice(literal);
        self.show_value(at, value);
        Ok(())
    }

    fn array(&mut self, depth: u32, at: Places<V::Position>) -> Result<(), NotCanonical> {
        if depth == DEPTH_MAX {
            return Err(NotCanonical::TooDeep);
        }
        self.show_open(at, Container::Array);
        self.pass(b'[');
        if self.next_significant() == Some(b']') {
            self.pass(b']');
            self.show_close(at, Container::Array);
            return Ok(());
        }
        loop {
            let element = self.element_places(at);
            self.value(depth + 1, element)?;
            match self.next_significant() {
                Some(b',') => self.pass(b','),
                Some(b']') => {
                    self.pass(b']');
                    self.show_close(at, Container::Array);
                    return Ok(());
                }
                _ => return Err(NotCanonical::NotJson),
            }
        }
    }

    fn object(&mut self, depth: u32, at: Places<V::Position>) -> Result<(), NotCanonical> {
        if depth == DEPTH_MAX {
            return Err(NotCanonical::TooDeep);
        }
        self.show_open(at, Container::Object);
        let start = self.text_end();
        let first = self.open_members.len();
        let mut in_order = true;
        self.pass(b'{');
        if self.next_significant() == Some(b'}') {
            self.pass(b'}');
            self.show_close(at, Container::Object);
            return Ok(());
        }
        loop {
            let member = self.member(depth, at)?;
            if let Some(previous) = self.open_members[first..].last() {
                match name(&self.text, previous).cmp(name(&self.text, &member)) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => return Err(NotCanonical::DuplicateMember),
                    std::cmp::Ordering::Greater => in_order = false,
                }
            }
            if self.open_members.len() + self.sorted_members.len() == MEMBERS_MAX {
                return Err(NotCanonical::TooLarge);
            }
            self.open_members.push(member);
            match self.next_significant() {
                Some(b',') => self.pass(b','),
                Some(b'}') => break,
                _ => return Err(NotCanonical::NotJson),
            }
        }
        self.pass(b'}');
        self.show_close(at, Container::Object);
        if in_order {
            self.open_members.truncate(first);
            return Ok(());
        }
        self.note_unsorted(start, first)
    }

    fn member(&mut self, depth: u32, of: Places<V::Position>) -> Result<Member, NotCanonical> {
        if self.next_significant() != Some(b'"') {
            return Err(NotCanonical::NotJson);
        }
        let start = self.text_end();
        let escapes = self.string()?;
        let name_end = self.text_end();
        let at = self.member_places(of, start as usize, escapes);
        if self.next_significant() != Some(b':') {
            return Err(NotCanonical::NotJson);
        }
        self.pass(b':');
        self.value(depth + 1, at)?;
        Ok(Member {
            start,
            name_end,
            end: self.text_end(),
        })
    }

    fn note_unsorted(&mut self, start: u32, first: usize) -> Result<(), NotCanonical> {
        let members = &mut self.open_members[first..];
        members.sort_unstable_by(|one, other| name(&self.text, one).cmp(name(&self.text, other)));
        let twice = members
            .windows(2)
            .any(|pair| name(&self.text, &pair[0]) == name(&self.text, &pair[1]));
        if twice {
            return Err(NotCanonical::DuplicateMember);
        }
        let first_member = self.sorted_members.len() as u32;
        self.sorted_members.extend(self.open_members.drain(first..));
        self.objects.push(Unsorted {
            start,
            end: self.text_end(),
            first_member,
            last_member: self.sorted_members.len() as u32,
        });
        Ok(())
    }

    /// The text with every object in order, written to `sorted` unless it is so already.
    fn in_order<'s>(&'s mut self, sorted: &'s mut Vec<u8>) -> &'s [u8] {
        if self.objects.is_empty() {
            return &self.text;
        }
        // They were added when they ended, the inner before the outer.
        self.objects.sort_unstable_by_key(|object| object.start);
        sorted.reserve(self.text.len());
        self.put_sorted(0, self.text_end(), sorted);
        sorted
    }

    /// Adds the text from `start` to `end` to `sorted`, every object in order. Its depth is bounded
    /// by that of the source.
    fn put_sorted(&self, start: u32, end: u32, sorted: &mut Vec<u8>) {
        let mut at = start;
        let mut next = self.objects.partition_point(|object| object.start < start);
        while let Some(object) = self.objects.get(next).filter(|object| object.start < end) {
            sorted.extend_from_slice(&self.text[at as usize..object.start as usize]);
            let members = object.first_member as usize..object.last_member as usize;
            let mut before = b'{';
            for member in &self.sorted_members[members] {
                sorted.push(before);
                self.put_sorted(member.start, member.end, sorted);
                before = b',';
            }
            sorted.push(b'}');
            at = object.end;
            next = self.objects.partition_point(|other| other.start < at);
        }
        sorted.extend_from_slice(&self.text[at as usize..end as usize]);
    }
}

#[inline]
fn name<'a>(text: &'a [u8], member: &Member) -> &'a [u8] {
    &text[member.start as usize..member.name_end as usize]
}
