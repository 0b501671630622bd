//! The generated text, counted as late as possible: most responses report their usage behind it, and then no count is
//! needed.

use crate::model::estimate::{Part, TextCount};

/// How much text waits to be counted; more is counted as it arrives.
const HELD_BYTES_MAX: usize = 1024;
/// The initial capacity, so that a stream of words need not grow it step by step.
const HELD_BYTES_USUAL: usize = 256;

/// A text whose last part can be discarded.
#[derive(Debug, Default)]
pub(super) struct Text {
    counted: TextCount,
    held: Vec<u8>,
    /// What had come when the document began that is being read.
    counted_before: TextCount,
    held_before: usize,
}

impl Text {
    /// Adds a piece.
    pub(super) fn add(&mut self, piece: &[u8]) {
        if self.held.capacity() == 0 {
            self.held
                .reserve(piece.len().clamp(HELD_BYTES_USUAL, HELD_BYTES_MAX));
        }
        if self.held.len() + piece.len() > HELD_BYTES_MAX {
            self.count_held();
        }
        match piece.len() > HELD_BYTES_MAX {
            true => self.counted.add(piece),
            false => self.held.extend_from_slice(piece),
        }
    }

    /// A part begins.
    pub(super) fn begin(&mut self, part: Part) {
        self.count_held();
        self.counted.begin(part);
    }

    /// A document begins.
    pub(super) fn mark(&mut self) {
        self.counted_before = self.counted;
        self.held_before = self.held.len();
    }

    /// Takes back what the document brought.
    pub(super) fn take_back(&mut self) {
        self.counted = self.counted_before;
        self.held.truncate(self.held_before);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.counted.is_empty()
    }

    pub(super) fn count(mut self) -> TextCount {
        self.count_held();
        self.counted
    }

    fn count_held(&mut self) {
        let (before, after) = self.held.split_at(self.held_before);
        if !before.is_empty() {
            self.counted.add(before);
            self.counted_before = self.counted;
        }
        self.counted.add(after);
        self.held.clear();
        self.held_before = 0;
    }

    /// Bytes held, for tests of the bound.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held.capacity()
    }
}
