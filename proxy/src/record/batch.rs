//! Whole lines in one buffer, with the place where each ends.

/// Lines that wait to be written. Each ends in a newline.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A buffer that a burst has grown past this is given back once the lines are few again.
const KEPT_BYTES_MAX: usize = 512 * 1024;

impl Batch {
    /// Appends a line; the newline is added here.
    pub(super) fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn bytes_length(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn lines(&self) -> Lines<'_> {
        Lines {
            bytes: &self.bytes,
            ends: &self.ends,
            offset: 0,
        }
    }

    /// Forgets the lines and keeps the room, unless there is far more of it than they took.
    pub(super) fn clear(&mut self) {
        let room = self.bytes.capacity();
        if room > KEPT_BYTES_MAX && self.bytes.len() < room / 4 {
            *self = Batch::default();
        }
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Some consecutive lines of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    /// In terms of the batch; `offset` is where `bytes` begins there.
    ends: &'a [usize],
    offset: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes the leading lines that fit into `bytes_max` have, and how many lines that is.
    pub(super) fn fitting(&self, bytes_max: u64) -> (usize, usize) {
        let fits = |end: &usize| (*end - self.offset) as u64 <= bytes_max;
        let count = self.ends.partition_point(fits);
        (self.bytes_of(count), count)
    }

    /// Splits after the first `count` lines.
    pub(super) fn split(self, count: usize) -> (Lines<'a>, Lines<'a>) {
        let count = count.min(self.ends.len());
        let at = self.bytes_of(count);
        let (head, tail) = self.bytes.split_at(at);
        let (head_ends, tail_ends) = self.ends.split_at(count);
        (
            Lines {
                bytes: head,
                ends: head_ends,
                offset: self.offset,
            },
            Lines {
                bytes: tail,
                ends: tail_ends,
                offset: self.offset + at,
            },
        )
    }

    /// The last `count` lines, without their newlines, oldest first.
    pub(super) fn last(self, count: usize) -> impl Iterator<Item = &'a [u8]> {
        let (_, tail) = self.split(self.count().saturating_sub(count));
        let mut start = 0;
        tail.ends.iter().map(move |end| {
            let end = end - tail.offset;
            let line = &tail.bytes[start..end - 1];
            start = end;
            line
        })
    }

    fn bytes_of(&self, count: usize) -> usize {
        match count.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some(end) => end - self.offset,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lines: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for line in lines {
            batch.push(line.as_bytes());
        }
        batch
    }

    #[test]
    fn lines_split_and_fit_at_their_ends() {
        let batch = batch(&["one", "", "three"]);
        let lines = batch.lines();
        assert_eq!(lines.bytes(), b"one\n\nthree\n");
        assert_eq!(lines.fitting(3), (0, 0));
        assert_eq!(lines.fitting(4), (4, 1));
        assert_eq!(lines.fitting(10), (5, 2));
        assert_eq!(lines.fitting(11), (11, 3));
        let (head, tail) = lines.split(1);
        assert_eq!((head.bytes(), head.count()), (&b"one\n"[..], 1));
        assert_eq!((tail.bytes(), tail.count()), (&b"\nthree\n"[..], 2));
        assert_eq!(tail.fitting(6), (1, 1));
        assert_eq!(tail.split(9).1.count(), 0);
    }

    #[test]
    fn the_last_lines_come_oldest_first() {
        let batch = batch(&["one", "two", "three"]);
        let last = |count| -> Vec<_> { batch.lines().last(count).collect() };
        assert_eq!(last(2), [&b"two"[..], b"three"]);
        assert_eq!(last(9).len(), 3);
        assert!(last(0).is_empty());
    }

    #[test]
    fn a_burst_is_given_back() {
        let mut batch = Batch::default();
        batch.push(&vec![b'x'; KEPT_BYTES_MAX * 2]);
        batch.clear();
        assert!(batch.is_empty() && batch.bytes.capacity() > KEPT_BYTES_MAX);
        batch.push(b"one");
        batch.clear();
        assert!(batch.is_empty() && batch.bytes.capacity() <= KEPT_BYTES_MAX);
    }
}
