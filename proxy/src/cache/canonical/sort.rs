//! Puts the members of objects in order, in a second pass over the text.

use super::{CanonicalParser, NotCanonical, ObjectMember, UnsortedObject};
use crate::cache::body_rules::BodyRules;
use crate::model::json::Visitor;

impl<V: Visitor, R: BodyRules> CanonicalParser<'_, V, R> {
    /// Sorts the members of the object that began at `start` and has just ended, those from `first` on.
    pub(super) fn note_unsorted(&mut self, start: u32, first: usize) -> Result<(), NotCanonical> {
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
    pub(super) fn in_order<'s>(&'s mut self, sorted: &'s mut Vec<u8>) -> &'s [u8] {
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

/// The name of a member in the text, with its quotes.
#[inline]
pub(super) fn name<'a>(text: &'a [u8], member: &ObjectMember) -> &'a [u8] {
    &text[member.start as usize..member.name_end as usize]
}
