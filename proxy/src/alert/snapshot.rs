//! What alerts evaluate beside the counters of requests: readings of one moment.

use std::time::Duration;

use crate::system::Reading;

/// Readings of one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub system: Reading,
    /// Age of the oldest event in the spool, zero of an empty one; `None` when nothing is shipped.
    pub spool_oldest: Option<Duration>,
    /// Since the start.
    pub events_dropped: u64,
    /// Outside services whose last call went wrong, in the order of their names.
    pub dependencies_down: Vec<String>,
}

/// Takes a snapshot.
pub type SnapshotSource = Box<dyn Fn() -> Snapshot + Send + Sync>;
