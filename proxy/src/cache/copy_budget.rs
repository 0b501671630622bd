//! Bounds the memory of the copies that are made while responses are delivered: a client that reads slowly keeps its
//! copy for long, and there may be as many as connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::segments::SEGMENT_BYTES;

/// What all copies of one cache take together.
#[derive(Debug)]
pub(super) struct CopyBudget {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl CopyBudget {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(CopyBudget {
            bytes: AtomicUsize::new(0),
            bytes_max,
        })
    }
}

/// What one copy takes, until it is dropped. By default of no budget.
#[derive(Debug, Default)]
pub(super) struct CopyShare {
    budget: Option<Arc<CopyBudget>>,
    bytes: usize,
}

impl CopyShare {
    pub(super) fn of(budget: &Arc<CopyBudget>) -> Self {
        CopyShare {
            budget: Some(budget.clone()),
            bytes: 0,
        }
    }

    /// Whether the copy may grow by this many bytes. One segment may always be copied: a connection has buffers of that
    /// size anyway, and slow clients with long responses must not keep short ones from being stored.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let Some(budget) = &self.budget else {
            return true;
        };
        let all = budget.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes <= SEGMENT_BYTES || all <= budget.bytes_max
    }

    /// The copy has been freed.
    pub(super) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(budget) = &self.budget {
            budget.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for CopyShare {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_copies_together_are_bounded_but_for_their_first_segment() {
        let budget = CopyBudget::new(4 * SEGMENT_BYTES);
        let mut long = CopyShare::of(&budget);
        assert!(long.grow(4 * SEGMENT_BYTES));
        let mut short = CopyShare::of(&budget);
        assert!(short.grow(SEGMENT_BYTES));
        assert!(!short.grow(1));
        short.release();
        drop(long);
        assert!(short.grow(4 * SEGMENT_BYTES));
        drop(short);
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0);
        assert!(CopyShare::default().grow(usize::MAX));
    }
}
