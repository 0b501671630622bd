//! Complete lines in one buffer, each with its id and the offset of its end.

use crate::exchange::RequestId;

/// Lines that are waiting to be written. Each ends in a newline.
#[derive(Debug, Default)]
pub(crate) struct LineBatch {
    bytes: Vec<u8>,
    ends: Vec<LineEnd>,
}

/// The id and the end of one line.
#[derive(Clone, Copy, Debug)]
struct LineEnd {
    id: RequestId,
    /// The offset of the end of the line in the batch, after its newline.
    at: usize,
}

/// A buffer that has grown larger during a burst is freed afterwards.
const CAPACITY_KEPT_BYTES: usize = 512 * 1024;

impl LineBatch {
    /// Appends a line with the id of its event; the newline is added here.
    pub(crate) fn push(&mut self, id: &RequestId, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.ends.push(LineEnd {
            id: *id,
            at: self.bytes.len(),
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn bytes_length(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn lines(&self) -> BatchLines<'_> {
        BatchLines {
            bytes: &self.bytes,
            ends: &self.ends,
            offset: 0,
        }
    }

    /// Removes the lines, and frees a buffer that is far larger than they needed.
    pub(crate) fn clear(&mut self) {
        let capacity = self.bytes.capacity();
        if capacity > CAPACITY_KEPT_BYTES && self.bytes.len() < capacity / 4 {
            *self = LineBatch::default();
        }
        self.bytes.clear();
        self.ends.clear();
    }
}

/// One line without its newline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLine<'a> {
    pub(crate) id: &'a RequestId,
    pub(crate) bytes: &'a [u8],
}

/// Some consecutive lines of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLines<'a> {
    bytes: &'a [u8],
    /// Relative to the batch, where `bytes` begins at `offset`.
    ends: &'a [LineEnd],
    offset: usize,
}

impl<'a> BatchLines<'a> {
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The bytes and the number of the leading lines that fit into `bytes_max`.
    pub(crate) fn fitting(&self, bytes_max: u64) -> (usize, usize) {
        let fits = |end: &LineEnd| (end.at - self.offset) as u64 <= bytes_max;
        let count = self.ends.partition_point(fits);
        (self.bytes_of(count), count)
    }

    /// Splits after the first `count` lines.
    pub(crate) fn split(self, count: usize) -> (BatchLines<'a>, BatchLines<'a>) {
        let count = count.min(self.ends.len());
        let at = self.bytes_of(count);
        let (head, tail) = self.bytes.split_at(at);
        let (head_ends, tail_ends) = self.ends.split_at(count);
        (
            BatchLines {
                bytes: head,
                ends: head_ends,
                offset: self.offset,
            },
            BatchLines {
                bytes: tail,
                ends: tail_ends,
                offset: self.offset + at,
            },
        )
    }

    /// The last `count` lines, oldest first.
    pub(crate) fn last(self, count: usize) -> impl Iterator<Item = BatchLine<'a>> {
        let (_, tail) = self.split(self.count().saturating_sub(count));
        let mut start = 0;
        tail.ends.iter().map(move |end| {
            let at = end.at - tail.offset;
            let bytes = &tail.bytes[start..at - 1];
            start = at;
            BatchLine { id: &end.id, bytes }
        })
    }

    fn bytes_of(&self, count: usize) -> usize {
        match count.checked_sub(1).and_then(|last| self.ends.get(last)) {
            Some(end) => end.at - self.offset,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lines: &[&str]) -> LineBatch {
        let mut batch = LineBatch::default();
        for (number, line) in lines.iter().enumerate() {
            let id = RequestId::fixed(&format!("{number:026}"));
            batch.push(&id, line.as_bytes());
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
    fn the_last_lines_come_oldest_first_with_their_ids() {
        let batch = batch(&["one", "two", "three"]);
        let last = |count| -> Vec<_> {
            let lines = batch.lines().last(count);
            lines
                .map(|line| (line.id.as_bytes()[25], line.bytes))
                .collect()
        };
        assert_eq!(last(2), [(b'1', &b"two"[..]), (b'2', b"three")]);
        assert_eq!(last(9).len(), 3);
        assert!(last(0).is_empty());
    }

    #[test]
    fn the_memory_of_a_burst_is_freed() {
        let mut batch = LineBatch::default();
        let id = RequestId::fixed(&"0".repeat(26));
        batch.push(&id, &vec![b'x'; CAPACITY_KEPT_BYTES * 2]);
        batch.clear();
        assert!(batch.is_empty() && batch.bytes.capacity() > CAPACITY_KEPT_BYTES);
        batch.push(&id, b"one");
        batch.clear();
        assert!(batch.is_empty() && batch.bytes.capacity() <= CAPACITY_KEPT_BYTES);
    }
}
