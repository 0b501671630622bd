//! The memory budget of all request bodies: reserved as they arrive, released when their requests end.
//!
//! This is the backpressure on memory: beyond the budget a request is rejected at once with
//! `over_capacity`, and those in flight finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::refusal::{ErrorCode, Refusal};

/// Memory is reserved as bodies arrive, in steps of this size.
pub(crate) const STEP_BYTES: u64 = 64 * 1024;

/// The bytes of all buffered bodies.
#[derive(Debug)]
pub struct Budget {
    held: AtomicU64,
    max: u64,
}

/// The part of the budget that one request has reserved; released when the request ends.
#[derive(Debug)]
pub struct Booking {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    #[must_use]
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Budget {
            held: AtomicU64::new(0),
            max: bytes_max,
        })
    }

    /// Whether half of the budget stays free with so many bytes more.
    pub(crate) fn is_half_free_beside(&self, bytes: u64) -> bool {
        self.held().saturating_add(bytes) <= self.max / 2
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Booking {
    pub(crate) fn none(budget: &Arc<Budget>) -> Self {
        Booking {
            budget: budget.clone(),
            bytes: 0,
        }
    }

    /// Grows the reservation to `bytes` in total, unless the budget is exhausted.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let before = self.budget.held.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        if before.saturating_add(more) > self.budget.max {
            return Err(over_budget());
        }
        Ok(())
    }
}

impl Booking {
    pub(crate) fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn over_budget() -> Refusal {
    let detail = "the bodies of all requests together exceed limits.buffered_bytes";
    Refusal::new(ErrorCode::OverCapacity, detail).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_given_back_and_never_exceeded_for_long() {
        let budget = Budget::new(100);
        let mut first = Booking::none(&budget);
        first.grow_to(60).expect("fits");
        first.grow_to(60).expect("booked already");
        let mut second = Booking::none(&budget);
        let refusal = second.grow_to(41).expect_err("does not fit");
        assert_eq!(refusal.code, ErrorCode::OverCapacity);
        assert!(refusal.retry_after_s.is_some());
        drop(second);
        assert_eq!(budget.held(), 60);
        first.grow_to(100).expect("fits now");
        drop(first);
        assert_eq!(budget.held(), 0);
    }
}
