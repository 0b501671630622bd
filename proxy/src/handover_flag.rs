//! Whether another process has taken over, or is about to: what only one process may do is then left to that one.

use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by the parts that a handover concerns.
#[derive(Debug, Default)]
pub(crate) struct HandoverFlag(AtomicBool);

impl HandoverFlag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// The other process has failed, or has ended.
    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
