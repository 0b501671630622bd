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

/// The size of a batch. A buffer that has grown larger, for a long line, is freed afterwards.
pub(super) const BATCH_BYTES: usize = 512 * 1024;

impl LineBatch {
    /// Appends a line with the id of its event; the newline is added here.
    pub(crate) fn push(&mut self, id: &RequestId, line: &[u8]) {
        let bytes = self.bytes.len() + line.len() + 1;
        if bytes > self.bytes.capacity() {
            // Doubled, but not beyond the size of a batch.
            let capacity = (self.bytes.capacity() * 2).min(BATCH_BYTES).max(bytes);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
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

    /// Whether one more line still belongs to this batch.
    pub(super) fn has_room(&self, line: &[u8]) -> bool {
        self.is_empty() || self.bytes.len() + line.len() < BATCH_BYTES
    }

    pub(crate) fn lines(&self) -> BatchLines<'_> {
        BatchLines {
            bytes: &self.bytes,
            ends: &self.ends,
            offset: 0,
        }
    }

    /// Removes the lines, and frees a buffer that is larger than a batch.
    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > BATCH_BYTES {
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
    fn a_buffer_is_as_large_as_a_batch_unless_a_line_is_longer() {
        let mut batch = LineBatch::default();
        let id = RequestId::fixed(&"0".repeat(26));
        let line = [b'x'; 1_000];
        while batch.has_room(&line) {
            batch.push(&id, &line);
        }
        assert!(batch.bytes_length() > BATCH_BYTES - 1_001);
        assert_eq!(batch.bytes.capacity(), BATCH_BYTES);
        batch.clear();
        assert_eq!(batch.bytes.capacity(), BATCH_BYTES, "it is kept");

        let long = vec![b'x'; BATCH_BYTES * 2];
        assert!(batch.has_room(&long), "a batch of its own");
        batch.push(&id, &long);
        assert!(!batch.has_room(b""));
        batch.clear();
        assert!(batch.is_empty() && batch.bytes.capacity() == 0);
    }
}
