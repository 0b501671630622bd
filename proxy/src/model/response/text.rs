//! The generated text, whose tokens are estimated as late as possible: most responses report their usage after it, and
//! then no estimate is needed.

use crate::model::estimate::{TextPart, TokenEstimator};

/// How much text is buffered before it is counted.
const HELD_BYTES_MAX: usize = 1024;
/// The initial capacity, so that a stream of words does not reallocate often.
const HELD_BYTES_USUAL: usize = 256;

/// A text whose last document can be rolled back.
#[derive(Clone, Debug, Default)]
pub(super) struct GeneratedText {
    counted: TokenEstimator,
    held: Vec<u8>,
    /// The state at the start of the current document.
    counted_before: TokenEstimator,
    held_before: usize,
}

impl GeneratedText {
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

    /// Begins a part.
    pub(super) fn begin(&mut self, part: TextPart) {
        self.count_held();
        self.counted.begin(part);
    }

    /// Marks the start of a document.
    pub(super) fn checkpoint(&mut self) {
        self.counted_before = self.counted;
        self.held_before = self.held.len();
    }

    /// Discards the text of the current document.
    pub(super) fn roll_back(&mut self) {
        self.counted = self.counted_before;
        self.held.truncate(self.held_before);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.counted.is_empty()
    }

    pub(super) fn count(mut self) -> TokenEstimator {
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
