//! Reads the body of a model call while it is forwarded, within the memory budget of all bodies.

use std::sync::Arc;

use super::budget::{Booking, Budget, STEP_BYTES};
use crate::model::request::{RequestFacts, RequestReader, RequestVisitor};
use crate::refusal::Refusal;

/// How much is read at once: decoding this much takes at most a few milliseconds.
pub(crate) const PIECE_BYTES: usize = 16 * 1024;

/// The reader of a request; the memory of its decoders is reserved from the budget.
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

    /// Lets `parse` read a whole body for this reader.
    pub(crate) fn with_visitor<T>(
        &mut self,
        parse: impl FnOnce(&mut RequestVisitor<'_>) -> T,
    ) -> T {
        self.reader.with_visitor(parse)
    }

    /// Whether nothing remains to be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.reader.is_complete()
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// `over_capacity` when the budget is exhausted.
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

    /// What the whole body states.
    pub(crate) fn finish(self) -> RequestFacts {
        self.reader.finish()
    }

    /// What the body has stated so far.
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

    /// A request that needs a window of several megabytes to decode.
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
    fn the_memory_of_decoders_is_reserved_and_released() {
        let body = coded();
        let budget = Budget::new(64 << 20);
        let mut request = reader(&budget, u64::MAX);
        request.feed(&body).expect("within the budget");
        assert!(budget.held() > 4 << 20, "{}", budget.held());
        request.end();
        assert_eq!(budget.held(), 0);
        assert_eq!(request.finish().model.as_deref(), Some("m"));

        let budget = Budget::new(1 << 20);
        let result = reader(&budget, u64::MAX).feed(&body);
        let refusal = result.expect_err("beyond the budget");
        assert_eq!(refusal.code, ErrorCode::OverCapacity);
        assert_eq!(budget.held(), 0);

        let mut request = reader(&budget, 500_000);
        request.feed(&body).expect("reading stops at the limit");
        assert_eq!(request.finish().model.as_deref(), Some("m"));
    }
}
