//! The metrics of entries in Redis.

use prometheus::{IntCounter, Result};

use crate::metrics::{Metrics, catalog};

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryOutcome {
    Written,
    /// Redis did not take it.
    Failed,
    /// Too much was waiting to be written, or it was purged or stale before it was written.
    Dropped,
    TooLarge,
    /// An entry that was found was not usable.
    Invalid,
}

impl EntryOutcome {
    const ALL: [EntryOutcome; 5] = [
        EntryOutcome::Written,
        EntryOutcome::Failed,
        EntryOutcome::Dropped,
        EntryOutcome::TooLarge,
        EntryOutcome::Invalid,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            EntryOutcome::Written => "written",
            EntryOutcome::Failed => "failed",
            EntryOutcome::Dropped => "dropped",
            EntryOutcome::TooLarge => "too_large",
            EntryOutcome::Invalid => "invalid",
        }
    }
}

/// The counters of entries. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct EntryMetrics(Vec<IntCounter>);

impl EntryMetrics {
    /// Registers all of them; they are at zero without a Redis.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub(crate) fn register(metrics: &Metrics) -> Result<Self> {
        let entries = metrics.counter(catalog::CACHE_REDIS_ENTRIES)?;
        let outcomes = EntryOutcome::ALL.iter();
        let series = outcomes.map(|outcome| entries.series(&[outcome.as_str()]));
        Ok(EntryMetrics(series.collect::<Result<_>>()?))
    }

    pub(super) fn count(&self, outcome: EntryOutcome) {
        if let Some(counter) = self.0.get(outcome as usize) {
            counter.inc();
        }
    }
}
