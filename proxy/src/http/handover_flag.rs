//! Whether another process has taken over: it accepts the connections that this one no longer accepts.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set before the drain begins.
#[derive(Debug, Default)]
pub(crate) struct HandoverFlag(AtomicBool);

impl HandoverFlag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
