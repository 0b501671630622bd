//! `weir_replay_dropped_total`: counted by the memories against replay, read at each scrape.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{IntCounter, Registry, Result};

use super::catalog;
use super::family::Family;

/// Gives what is counted at this moment.
pub type CountSource = Box<dyn Fn() -> u64 + Send + Sync>;

/// The counter, and who counts.
pub struct ReplayDropped {
    counter: IntCounter,
    /// How many the counter shows: two scrapes at once must not add the same twice.
    shown: AtomicU64,
    source: OnceLock<CountSource>,
}

impl ReplayDropped {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let family: Family<IntCounter> = Family::register(registry, catalog::REPLAY_DROPPED, &[])?;
        Ok(ReplayDropped {
            counter: family.series(&[])?,
            shown: AtomicU64::new(0),
            source: OnceLock::new(),
        })
    }

    /// Who is asked at each scrape. The first one stays.
    pub fn set_source(&self, source: CountSource) {
        drop(self.source.set(source));
    }

    pub(super) fn read(&self) {
        if let Some(source) = self.source.get() {
            let now = source();
            let shown = self.shown.fetch_max(now, Ordering::Relaxed);
            self.counter.inc_by(now.saturating_sub(shown));
        }
    }
}
