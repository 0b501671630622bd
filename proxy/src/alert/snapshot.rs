//! What alerts evaluate besides the counters of requests: a snapshot of the system and of external services.

use std::time::Duration;

use crate::system::SystemSample;

/// Readings of one point in time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub system: SystemSample,
    /// Age of the oldest event in the spool, zero when it is empty; `None` when nothing is shipped.
    pub spool_oldest: Option<Duration>,
    /// Since the start.
    pub events_dropped: u64,
    /// External services whose last call failed, sorted by name.
    pub dependencies_down: Vec<String>,
}

/// Takes a snapshot.
pub type SnapshotSource = Box<dyn Fn() -> Snapshot + Send + Sync>;
