//! Which events are in the index: everything before a number, and some behind it.

use std::collections::BTreeMap;

/// Batches are answered in any order; the cursor stands before the first that is not.
#[derive(Debug, Default)]
pub(super) struct Acks {
    next: u64,
    /// Ranges behind `next` that are done: first number to the one behind the last.
    done: BTreeMap<u64, u64>,
}

impl Acks {
    pub(super) fn new(next: u64) -> Self {
        Acks {
            next,
            done: BTreeMap::new(),
        }
    }

    /// The first event that is not done.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The events from `first` up to before `end` are done. Gives how many of them were not before.
    pub(super) fn done(&mut self, first: u64, end: u64) -> u64 {
        let first = first.max(self.next);
        let news = end.saturating_sub(first) - self.known(first, end);
        if end > first {
            let known = self.done.entry(first).or_insert(end);
            *known = end.max(*known);
        }
        while let Some(range) = self.done.first_entry() {
            if *range.key() > self.next {
                break;
            }
            self.next = self.next.max(range.remove());
        }
        news
    }

    /// How many events from `first` up to before `end` are done already. Ranges may overlap.
    fn known(&self, first: u64, end: u64) -> u64 {
        let (mut at, mut known) = (first, 0);
        for (from, to) in self.done.range(..end) {
            let (from, to) = ((*from).max(at), (*to).min(end));
            known += to.saturating_sub(from);
            at = at.max(to);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_moves_over_what_is_done_without_a_gap() {
        let mut acks = Acks::new(10);
        assert_eq!(acks.done(20, 25), 5);
        assert_eq!(acks.done(12, 15), 3);
        assert_eq!(acks.done(13, 22), 5, "15 to 19");
        let mut acks = Acks::new(10);
        assert_eq!(acks.done(20, 25), 5);
        assert_eq!(acks.done(12, 15), 3);
        assert_eq!(acks.next(), 10);
        acks.done(10, 12);
        assert_eq!(acks.next(), 15);
        assert_eq!(acks.done(3, 11), 0);
        acks.done(17, 20);
        assert_eq!(acks.next(), 15);
        acks.done(14, 18);
        assert_eq!(acks.next(), 25);
        acks.done(26, 26);
        assert_eq!((acks.next(), acks.done.len()), (25, 0));
    }
}
