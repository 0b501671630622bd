//! The decision of one limit.

use std::time::Duration;

/// The decision of one limit on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitVerdict {
    Admitted {
        remaining: u32,
        /// Until the quota is restored.
        reset: Duration,
    },
    Limited {
        retry_after: Duration,
        reset: Duration,
    },
}
