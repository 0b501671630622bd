//! Canonical JSON: one text for all equal JSON texts.
//!
//! Members are sorted, insignificant whitespace is removed, and strings are unescaped; numbers stay as they are
//! written, because `1`, `1.0` and `1e0` are different to some parsers and a wrong hit is worse than a miss. The text
//! is only hashed: it is unambiguous, but not JSON (a line break in a string is not escaped).
//!
//! The source is parsed once, without a tree, and its values are passed to visitors (`canonical/visit.rs`). Scalars are
//! written in source order; objects whose members are out of order are sorted in a second pass. Both passes are linear
//! in the source, regardless of nesting; the number of sorted members is bounded.

use std::cell::Cell;

use super::statefulness::Statefulness;
use crate::model::json::{Container, DocumentEnd, JsonValue, Visitor};
use visit::Positions;

mod plain;
mod scalar;
mod visit;

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
    open_members: Vec<ObjectMember>,
    sorted_members: Vec<ObjectMember>,
    objects: Vec<UnsortedObject>,
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

/// Passes the canonical text of a JSON object, never longer than `source`, and its `statefulness` to `read`. The values
/// of the object are passed to `visitor`, but its end only if it has a canonical text.
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
    let mut parser = CanonicalParser {
        source,
        at: 0,
        text: scratch.text,
        open_members: scratch.open_members,
        sorted_members: scratch.sorted_members,
        objects: scratch.objects,
        statefulness,
        visitor,
    };
    let whole = parser.complete_object();
    let statefulness = parser.statefulness;
    let outcome = whole.map(|()| read(parser.in_order(&mut scratch.sorted), statefulness));
    if parser.text.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(Scratch {
            text: parser.text,
            sorted: scratch.sorted,
            open_members: parser.open_members,
            sorted_members: parser.sorted_members,
            objects: parser.objects,
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

struct CanonicalParser<'a, V: Visitor> {
    source: &'a [u8],
    at: usize,
    /// The canonical text, but with members in the order of the source.
    text: Vec<u8>,
    /// Members of the objects that are being parsed, the innermost object's last.
    open_members: Vec<ObjectMember>,
    /// Members of the objects in `objects`, in canonical order for each object.
    sorted_members: Vec<ObjectMember>,
    /// Objects whose members are not in order in `text`.
    objects: Vec<UnsortedObject>,
    statefulness: Statefulness,
    visitor: &'a mut V,
}

/// The range of a member in the text: its name from `start` to `name_end`, the whole member to `end`.
#[derive(Clone, Copy)]
struct ObjectMember {
    start: u32,
    name_end: u32,
    end: u32,
}

/// The range of an object in the text, and that of its members in `sorted_members`.
struct UnsortedObject {
    start: u32,
    end: u32,
    first_member: u32,
    last_member: u32,
}

impl<V: Visitor> CanonicalParser<'_, V> {
    fn complete_object(&mut self) -> Result<(), NotCanonical> {
        let first = self.next_significant();
        self.value(0, Positions::ROOT)?;
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

    /// Skips whitespace; returns the byte after it without consuming it.
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

    fn value(&mut self, depth: u32, at: Positions<V::Position>) -> Result<(), NotCanonical> {
        match self.next_significant() {
            Some(b'"') => {
                let start = self.text.len();
                let escapes = self.string()?;
                self.visit_string(at, start, escapes);
                Ok(())
            }
            Some(b'{') => self.object(depth, at.within_depth(depth)),
            Some(b'[') => self.array(depth, at.within_depth(depth)),
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                self.number()?;
                self.visit_number(at, start);
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
        at: Positions<V::Position>,
    ) -> Result<(), NotCanonical> {
        if !self.source[self.at..].starts_with(literal) {
            return Err(NotCanonical::NotJson);
        }
        self.at += literal.len();
        self.text.extend_from_slice(literal);
        self.visit_value(at, value);
        Ok(())
    }

    fn array(&mut self, depth: u32, at: Positions<V::Position>) -> Result<(), NotCanonical> {
        if depth == DEPTH_MAX {
            return Err(NotCanonical::TooDeep);
        }
        self.visit_open(at, Container::Array);
        self.pass(b'[');
        if self.next_significant() == Some(b']') {
            self.pass(b']');
            self.visit_close(at, Container::Array);
            return Ok(());
        }
        loop {
            let element = self.element_positions(at);
            self.value(depth + 1, element)?;
            match self.next_significant() {
                Some(b',') => self.pass(b','),
                Some(b']') => {
                    self.pass(b']');
                    self.visit_close(at, Container::Array);
                    return Ok(());
                }
                _ => return Err(NotCanonical::NotJson),
            }
        }
    }

    fn object(&mut self, depth: u32, at: Positions<V::Position>) -> Result<(), NotCanonical> {
        if depth == DEPTH_MAX {
            return Err(NotCanonical::TooDeep);
        }
        self.visit_open(at, Container::Object);
        let start = self.text_end();
        let first = self.open_members.len();
        let mut in_order = true;
        self.pass(b'{');
        if self.next_significant() == Some(b'}') {
            self.pass(b'}');
            self.visit_close(at, Container::Object);
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
        self.visit_close(at, Container::Object);
        if in_order {
            self.open_members.truncate(first);
            return Ok(());
        }
        self.note_unsorted(start, first)
    }

    fn member(
        &mut self,
        depth: u32,
        of: Positions<V::Position>,
    ) -> Result<ObjectMember, NotCanonical> {
        if self.next_significant() != Some(b'"') {
            return Err(NotCanonical::NotJson);
        }
        let start = self.text_end();
        let escapes = self.string()?;
        let name_end = self.text_end();
        let at = self.member_positions(of, start as usize, escapes);
        if self.next_significant() != Some(b':') {
            return Err(NotCanonical::NotJson);
        }
        self.pass(b':');
        self.value(depth + 1, at)?;
        Ok(ObjectMember {
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
        self.objects.push(UnsortedObject {
            start,
            end: self.text_end(),
            first_member,
            last_member: self.sorted_members.len() as u32,
        });
        Ok(())
    }

    /// The text with every object in order; written to `sorted` unless it is in order already.
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
fn name<'a>(text: &'a [u8], member: &ObjectMember) -> &'a [u8] {
    &text[member.start as usize..member.name_end as usize]
}
