//! The metrics of shipping. Counts are a consistent snapshot of the ledger of request events, so that every scrape
//! balances.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntGauge, Result};

use super::Ship;
use super::condition::Condition;
use crate::clock;
use crate::metrics::catalog::{self, DURATION_EDGES_S};
use crate::metrics::{Metrics, family::Family};

/// Metrics that the shipper updates itself. Clones share their state.
#[derive(Clone, Debug)]
pub struct ShipperMetrics {
    pub(super) bulk_duration: Histogram,
    pub(super) obstacles: ObstacleMetrics,
}

/// Metrics of the obstacle that keeps events out of the index. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct ObstacleMetrics {
    conditions: Vec<ConditionSeries>,
    /// Whether the last request succeeded.
    up: Option<IntGauge>,
}

/// The series of one condition.
#[derive(Clone, Debug)]
struct ConditionSeries {
    condition: Condition,
    retried: IntCounter,
    present: IntGauge,
}

impl ObstacleMetrics {
    /// Metrics that are not exposed.
    pub(super) fn unexposed() -> Self {
        ObstacleMetrics {
            conditions: Vec::new(),
            up: None,
        }
    }

    fn set_up(&self, up: i64) {
        self.up.iter().for_each(|gauge| gauge.set(up));
    }

    /// Notes that `events` events have to be sent again because of this condition.
    pub(super) fn note_retry(&self, condition: Condition, events: u64) {
        self.set_up(0);
        for series in &self.conditions {
            let is_it = series.condition == condition;
            series.present.set(i64::from(is_it));
            if is_it {
                series.retried.inc_by(events);
            }
        }
    }

    /// Notes that all events of a request were accepted.
    pub(super) fn clear(&self) {
        self.set_up(1);
        let conditions = self.conditions.iter();
        conditions.for_each(|series| series.present.set(0));
    }
}

/// Metrics that are read from the shipper at each scrape.
#[derive(Debug)]
pub struct ShipMetrics {
    recorded: IntCounter,
    recovered: IntCounter,
    indexed: IntCounter,
    failure_store: IntCounter,
    duplicate: IntCounter,
    dead_letter: IntCounter,
    dropped: IntCounter,
    in_channel: IntGauge,
    spool_events: IntGauge,
    spool_bytes: IntGauge,
    spool_oldest: IntGauge,
    bulk_duration: Family<Histogram>,
    retried: Family<IntCounter>,
    blocked: Family<IntGauge>,
}

impl ShipMetrics {
    /// Registers all of them. They stay at zero if nothing is shipped.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub fn register(metrics: &Metrics) -> Result<Self> {
        let events = metrics.counter(catalog::EVENTS)?;
        let gauge = |definition| metrics.gauge(definition)?.series(&[]);
        Ok(ShipMetrics {
            recorded: events.series(&["recorded"])?,
            recovered: events.series(&["recovered"])?,
            indexed: events.series(&["indexed"])?,
            failure_store: events.series(&["failure_store"])?,
            duplicate: events.series(&["duplicate"])?,
            dead_letter: events.series(&["dead_letter"])?,
            dropped: events.series(&["dropped"])?,
            in_channel: gauge(catalog::EVENTS_IN_CHANNEL)?,
            spool_events: gauge(catalog::SPOOL_EVENTS)?,
            spool_bytes: gauge(catalog::SPOOL_BYTES)?,
            spool_oldest: gauge(catalog::SPOOL_OLDEST)?,
            bulk_duration: metrics.histogram(catalog::BULK_DURATION, &DURATION_EDGES_S)?,
            retried: metrics.counter(catalog::EVENTS_RETRIED)?,
            blocked: metrics.gauge(catalog::SHIPPING_BLOCKED)?,
        })
    }

    /// The metrics that the shipper updates itself, exposed from now on.
    ///
    /// # Errors
    /// Only when the catalog has an invalid name.
    pub fn shipper(&self, metrics: &Metrics) -> Result<ShipperMetrics> {
        let obstacles = Condition::ALL.map(|condition| {
            Ok(ConditionSeries {
                condition,
                retried: self.retried.series(&[condition.as_str()])?,
                present: self.blocked.series(&[condition.as_str()])?,
            })
        });
        Ok(ShipperMetrics {
            bulk_duration: self.bulk_duration.series(&[])?,
            obstacles: ObstacleMetrics {
                conditions: obstacles.into_iter().collect::<Result<_>>()?,
                up: Some(metrics.dependency("elasticsearch")?),
            },
        })
    }

    /// Exposes the counts of this shipper.
    pub fn expose(self, ship: &Arc<Ship>, metrics: &Metrics) {
        let ship = ship.clone();
        metrics.on_scrape(move || self.read(&ship));
    }

    /// Copies the counts of the ledger.
    fn read(&self, ship: &Ship) {
        let counts = ship.ledgers.access.counts();
        for (counter, count) in [
            (&self.recorded, counts.recorded),
            (&self.recovered, counts.recovered),
            (&self.indexed, counts.indexed),
            (&self.failure_store, counts.failure_store),
            (&self.duplicate, counts.duplicate),
            (&self.dead_letter, counts.dead_letter),
            (&self.dropped, counts.dropped),
        ] {
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        let bytes = ship.spool.bytes();
        let oldest = ship.spool.oldest_at();
        let age = oldest.map_or(0, |at| clock::unix_now().saturating_sub(at).as_secs());
        for (gauge, value) in [
            (&self.in_channel, counts.in_channel),
            (&self.spool_events, counts.spooled),
            (&self.spool_bytes, bytes.access + bytes.alert),
            (&self.spool_oldest, age),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}
