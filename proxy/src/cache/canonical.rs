//! Canonical JSON: one text for all equal JSON texts.
//!
//! Members are sorted, insignificant whitespace is removed, and strings are unescaped; numbers stay as they are
//! written, because `1`, `1.0` and `1e0` are different to some parsers and a wrong hit is worse than a miss. The text
//! is only hashed: it is unambiguous, but not JSON (a line break in a string is not escaped).
//!
//! The source is parsed once, without a tree, and its values are passed to visitors (`canonical/visit.rs`), of which the
//! rules of the cache (`body_rules.rs`) decide which values are left out of the text. Scalars are written in source order; objects whose members are out of order are sorted in a second pass. Both passes are linear
//! in the source, regardless of nesting; the number of sorted members is bounded.

use std::cell::Cell;
use std::cmp::Ordering;

use super::body_rules::BodyRules;
use crate::exchange::BypassReason;
use crate::model::json::{Container, DocumentEnd, JsonValue, Visitor};
use sort::name;
use visit::{At, Positions};

mod plain;
mod scalar;
mod sort;
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
    let rules = super::statefulness::Statefulness::new(None);
    canonical(
        source,
        rules,
        &mut crate::model::json::IgnoreAll,
        |text, _| text.to_vec(),
    )
}

/// Passes the canonical text of a JSON object, never longer than `source` and without what the `rules` leave out, to
/// `read`, with the reason of the rules against using the cache. The values of the object are passed to `visitor`, too,
/// but its end only if it has a canonical text.
pub(super) fn canonical<V: Visitor, R: BodyRules, T>(
    source: &[u8],
    rules: R,
    visitor: &mut V,
    read: impl FnOnce(&[u8], Option<BypassReason>) -> T,
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
        rules,
        visitor,
    };
    let outcome = parser.complete_object();
    let bypass = parser.rules.bypass();
    let outcome = outcome.map(|()| read(parser.in_order(&mut scratch.sorted), bypass));
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

struct CanonicalParser<'a, V: Visitor, R: BodyRules> {
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
    rules: R,
    visitor: &'a mut V,
}

/// The range of a member in the text: its name from `start` to `name_end`, the whole member to `end`.
#[derive(Clone, Copy)]
struct ObjectMember {
    start: u32,
    name_end: u32,
    end: u32,
}

/// The lengths of the text and of what describes it.
struct TextLengths {
    text: usize,
    sorted_members: usize,
    objects: usize,
}

/// Whether the members of an object are in canonical order in the source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MemberOrder {
    Sorted,
    Unsorted,
}

/// The range of an object in the text, and that of its members in `sorted_members`.
struct UnsortedObject {
    start: u32,
    end: u32,
    first_member: u32,
    last_member: u32,
}

impl<V: Visitor, R: BodyRules> CanonicalParser<'_, V, R> {
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

    fn value(&mut self, depth: u32, at: At<V, R>) -> Result<(), NotCanonical> {
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
        at: At<V, R>,
    ) -> Result<(), NotCanonical> {
        if !self.source[self.at..].starts_with(literal) {
            return Err(NotCanonical::NotJson);
        }
        self.at += literal.len();
        self.text.extend_from_slice(literal);
        self.visit_value(at, value);
        Ok(())
    }

    fn array(&mut self, depth: u32, at: At<V, R>) -> Result<(), NotCanonical> {
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
        let (mut index, mut is_first) = (0, true);
        loop {
            let before = self.lengths();
            if !is_first {
                self.text.push(b',');
            }
            let element = self.element_positions(at, index);
            self.value(depth + 1, element)?;
            match R::is_left_out(element.rules) {
                true => self.cut(&before),
                false => is_first = false,
            }
            match self.next_significant() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.pass(b']');
                    self.visit_close(at, Container::Array);
                    return Ok(());
                }
                _ => return Err(NotCanonical::NotJson),
            }
            index += 1;
        }
    }

    fn object(&mut self, depth: u32, at: At<V, R>) -> Result<(), NotCanonical> {
        if depth == DEPTH_MAX {
            return Err(NotCanonical::TooDeep);
        }
        self.visit_open(at, Container::Object);
        let start = self.text_end();
        let first = self.open_members.len();
        let mut order = MemberOrder::Sorted;
        self.pass(b'{');
        if self.next_significant() == Some(b'}') {
            self.pass(b'}');
            self.visit_close(at, Container::Object);
            return Ok(());
        }
        loop {
            let before = self.lengths();
            if self.open_members.len() > first {
                self.text.push(b',');
            }
            match self.member(depth, at)? {
                Some(member) => self.add_member(first, member, &mut order)?,
                None => self.cut(&before),
            }
            match self.next_significant() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(NotCanonical::NotJson),
            }
        }
        self.pass(b'}');
        self.visit_close(at, Container::Object);
        match order {
            MemberOrder::Sorted => {
                self.open_members.truncate(first);
                Ok(())
            }
            MemberOrder::Unsorted => self.note_unsorted(start, first),
        }
    }

    /// Parses a member; returns `None` if it is left out of the text.
    fn member(&mut self, depth: u32, of: At<V, R>) -> Result<Option<ObjectMember>, NotCanonical> {
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
        let member = ObjectMember {
            start,
            name_end,
            end: self.text_end(),
        };
        Ok((!R::is_left_out(at.rules)).then_some(member))
    }

    /// Adds a member to those of the object whose members begin at `first`.
    #[inline(always)]
    fn add_member(
        &mut self,
        first: usize,
        member: ObjectMember,
        order: &mut MemberOrder,
    ) -> Result<(), NotCanonical> {
        if let Some(previous) = self.open_members[first..].last() {
            match name(&self.text, previous).cmp(name(&self.text, &member)) {
                Ordering::Less => {}
                Ordering::Equal => return Err(NotCanonical::DuplicateMember),
                Ordering::Greater => *order = MemberOrder::Unsorted,
            }
        }
        if self.open_members.len() + self.sorted_members.len() == MEMBERS_MAX {
            return Err(NotCanonical::TooLarge);
        }
        self.open_members.push(member);
        Ok(())
    }

    /// What grows while a value is parsed.
    #[inline]
    fn lengths(&self) -> TextLengths {
        TextLengths {
            text: self.text.len(),
            sorted_members: self.sorted_members.len(),
            objects: self.objects.len(),
        }
    }

    /// Removes what has been parsed since `before`.
    fn cut(&mut self, before: &TextLengths) {
        self.text.truncate(before.text);
        self.sorted_members.truncate(before.sorted_members);
        self.objects.truncate(before.objects);
    }
}
