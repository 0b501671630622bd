//! The question in a body: read while the body passes, within the budget of all bodies.

use std::sync::Arc;

use super::{Booking, Budget, STEP_BYTES};
use crate::model::question::{Question, QuestionReader};
use crate::refusal::Refusal;

/// So much is read at once: what a coding can make of it is decoded within a few milliseconds.
pub(crate) const PIECE_BYTES: usize = 16 * 1024;

/// The reader of a question, with what its codings hold booked.
#[derive(Debug)]
pub(crate) struct Questioned {
    reader: QuestionReader,
    booking: Booking,
}

impl Questioned {
    pub(crate) fn new(reader: QuestionReader, budget: &Arc<Budget>) -> Self {
        Questioned {
            reader,
            booking: Booking::none(budget),
        }
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// `over_capacity` when the budget is used up.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        for piece in piece.chunks(PIECE_BYTES) {
            self.reader.feed(piece);
            let held = self.reader.held_bytes();
            self.booking.grow_to(held.next_multiple_of(STEP_BYTES))?;
        }
        Ok(())
    }

    /// Nothing more comes of it.
    pub(crate) fn end(&mut self) {
        self.reader.end();
        self.booking.give_back();
    }

    /// What it said, at its end.
    pub(crate) fn finish(self) -> Question {
        self.reader.finish()
    }

    /// What it has said so far.
    pub(crate) fn question(&self) -> Question {
        self.reader.question()
    }
}
