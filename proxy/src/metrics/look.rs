//! What alerts read of the moment, beside what requests count.

use std::time::Duration;

use super::Metrics;
use crate::clock;
use crate::system::Reading;

/// Readings of one moment.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub system: Reading,
    /// Age of the oldest event in the spool, zero of an empty one; `None` when nothing is shipped.
    pub spool_oldest: Option<Duration>,
    /// Since the start.
    pub events_dropped: u64,
    /// Outside services whose last call went wrong, in the order of their names.
    pub dependencies_down: Vec<String>,
}

impl Metrics {
    /// What there is to read now.
    #[must_use]
    pub fn look(&self) -> Look {
        let ship = self.ship.get();
        let dropped = match ship {
            Some(ship) => ship.ledger.counts().dropped,
            None => self.events.dropped.get(),
        };
        Look {
            system: self.reading.lock().clone(),
            spool_oldest: ship.map(|ship| {
                let oldest = ship.spool.oldest_at();
                oldest.map_or(Duration::ZERO, |at| clock::unix_now().saturating_sub(at))
            }),
            events_dropped: dropped,
            dependencies_down: self.shipping.dependencies_down(),
        }
    }
}
