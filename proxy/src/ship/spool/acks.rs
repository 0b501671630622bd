//! Tracks which events are settled: all before a number, and ranges after it.

use std::collections::BTreeMap;

/// Settled events. Batches are settled in any order; the cursor is at the first event that is not settled.
#[derive(Debug, Default)]
pub(super) struct Acks {
    next: u64,
    /// Ranges after `next` that are done, as `start..end`. No two of them touch.
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

    /// How many events before `end` are not done.
    pub(super) fn left(&self, end: u64) -> u64 {
        let done: u64 = self.done.iter().map(|(from, to)| to - from).sum();
        end.saturating_sub(self.next).saturating_sub(done)
    }

    /// Marks the events `first..end` as done. Returns how many of them were not done before.
    pub(super) fn done(&mut self, first: u64, end: u64) -> u64 {
        let first = first.max(self.next);
        if end <= first {
            return 0;
        }
        let (mut from, mut to, mut news) = (first, end, end - first);
        let before = self.done.range(..=first).next_back();
        if let Some((known_from, known_to)) = before.map(|(from, to)| (*from, *to))
            && known_to >= first
        {
            news -= known_to.min(end) - first;
            (from, to) = (known_from, to.max(known_to));
        }
        while let Some((known_from, known_to)) = self.next_range(first, to) {
            news -= known_to.min(end).saturating_sub(known_from);
            to = to.max(known_to);
            self.done.remove(&known_from);
        }
        if from <= self.next {
            self.next = to;
            self.done.remove(&from);
        } else {
            self.done.insert(from, to);
        }
        news
    }

    /// The first range that begins after `first` and no later than `to`.
    fn next_range(&self, first: u64, to: u64) -> Option<(u64, u64)> {
        let behind = self.done.range(first.saturating_add(1)..);
        let range = behind.map(|(from, to)| (*from, *to)).next();
        range.filter(|(from, _)| *from <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_moves_over_ranges_without_gaps() {
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

    #[test]
    fn each_event_is_counted_once_in_any_order() {
        let mut bits = 7_u64;
        let mut dice = |below: u64| {
            // Knuth's constants; the upper bits are the random ones.
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (bits >> 33) % below
        };
        for _ in 0..200 {
            let mut acks = Acks::new(0);
            let mut known = std::collections::BTreeSet::new();
            for _ in 0..60 {
                let first = dice(100);
                let end = first + dice(12);
                let news = (first..end).filter(|number| known.insert(*number)).count();
                assert_eq!(acks.done(first, end), news as u64, "{first} to {end}");
                let next = (0..).find(|number| !known.contains(number));
                assert_eq!(Some(acks.next()), next);
                let ranges: Vec<_> = acks.done.iter().collect();
                assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }
}
