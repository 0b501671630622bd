//! Reads a request to a model while its body passes, within the budget of all bodies.

use std::sync::Arc;

use super::budget::{Booking, Budget, STEP_BYTES};
use crate::model::request::{RequestFacts, RequestReader, RequestVisitor};
use crate::refusal::Refusal;

/// How much is read at once: a content coding expands it within a few milliseconds.
pub(crate) const PIECE_BYTES: usize = 16 * 1024;

/// The reader of a request, with the memory of its codings booked.
#[derive(Debug)]
pub(crate) struct BudgetedReader {
    reader: RequestReader,
    booking: Booking,
}

impl BudgetedReader {
    pub(crate) fn new(reader: RequestReader, budget: &Arc<Budget>) -> Self {
        BudgetedReader {
            reader,
            booking: Booking::none(budget),
        }
    }

    /// Lets somebody else read a whole body and show it.
    pub(crate) fn with_visitor<T>(
        &mut self,
        parse: impl FnOnce(&mut RequestVisitor<'_>) -> T,
    ) -> T {
        self.reader.with_visitor(parse)
    }

    /// Whether nothing is still to be fed.
    pub(crate) fn is_complete(&self) -> bool {
        self.reader.is_complete()
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

    /// The body has ended.
    pub(crate) fn end(&mut self) {
        self.reader.end();
        self.booking.give_back();
    }

    /// What it stated, at its end.
    pub(crate) fn finish(self) -> RequestFacts {
        self.reader.finish()
    }

    /// What it has stated so far.
    pub(crate) fn facts(&self) -> RequestFacts {
        self.reader.facts()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;
    use crate::model::operation::Operation;
    use crate::refusal::ErrorCode;

    /// A question that takes a window of several megabytes to decode.
    fn coded() -> Vec<u8> {
        let words =
            (0..700_000).map(|number: u32| format!("{:x} ", number.wrapping_mul(2_654_435_761)));
        let content: String = words.collect();
        let text =
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{content}"}}]}}"#);
        zstd::encode_all(text.as_bytes(), 1).expect("encoded")
    }

    fn reader(budget: &Arc<Budget>, decoded_max: u64) -> BudgetedReader {
        let coding = HeaderValue::from_static("zstd");
        let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, coding)]);
        let reader = RequestReader::of(Operation::Chat, "/v1/chat/completions", &headers);
        BudgetedReader::new(reader.within(decoded_max), budget)
    }

    #[test]
    fn the_memory_of_codings_is_booked_and_given_back() {
        let body = coded();
        let budget = Budget::new(64 << 20);
        let mut asked = reader(&budget, u64::MAX);
        asked.feed(&body).expect("within the budget");
        assert!(budget.held() > 4 << 20, "{}", budget.held());
        asked.end();
        assert_eq!(budget.held(), 0);
        assert_eq!(asked.finish().model.as_deref(), Some("m"));

        let budget = Budget::new(1 << 20);
        let refused = reader(&budget, u64::MAX).feed(&body);
        let refusal = refused.expect_err("past the budget");
        assert_eq!(refusal.code, ErrorCode::OverCapacity);
        assert_eq!(budget.held(), 0);

        let mut asked = reader(&budget, 500_000);
        asked.feed(&body).expect("no more than a body may be");
        assert_eq!(asked.finish().model.as_deref(), Some("m"));
    }
}
