//! What is told of the ways to Elasticsearch, to a collector of traces, and to the audit log. Counts come from the ledger, all of one moment, so that a
//! scrape balances.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry, Result};

use super::catalog::{self, DURATION_EDGES_S};
use super::family::Family;
use crate::audit;
use crate::clock;
use crate::ship::Ship;
use crate::ship::condition::Condition;

/// What the shipper itself observes; a clone is the same.
#[derive(Clone, Debug)]
pub struct Shipping {
    pub bulk_duration: Histogram,
    /// Whether the last request was answered as it should be.
    pub up: IntGauge,
    pub obstacles: Obstacles,
}

/// What keeps events from the index; a clone is the same.
#[derive(Clone, Debug)]
pub struct Obstacles(Vec<Series>);

/// Of one condition.
#[derive(Clone, Debug)]
struct Series {
    condition: Condition,
    retried: IntCounter,
    present: IntGauge,
}

impl Obstacles {
    /// So many events have to be sent again for this.
    pub fn met(&self, condition: Condition, events: u64) {
        for series in &self.0 {
            let is_it = series.condition == condition;
            series.present.set(i64::from(is_it));
            if is_it {
                series.retried.inc_by(events);
            }
        }
    }

    /// All is taken.
    pub fn gone(&self) {
        self.0.iter().for_each(|series| series.present.set(0));
    }
}

/// What became of spans; a clone is the same.
#[derive(Clone, Debug)]
pub struct SpanCounts {
    pub exported: IntCounter,
    pub failed: IntCounter,
    pub dropped: IntCounter,
    /// Whether the collector took the last batch.
    pub up: IntGauge,
}

/// What is read from a shipper at each scrape.
#[derive(Debug)]
pub(super) struct ShipSeries {
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
    dependency_up: Family<IntGauge>,
    spans: Family<IntCounter>,
    audit_lines: Family<IntCounter>,
}

impl ShipSeries {
    pub(super) fn register(registry: &Registry, events: &Family<IntCounter>) -> Result<Self> {
        let gauge = |definition| -> Result<IntGauge> {
            Family::register(registry, definition, &[])?.series(&[])
        };
        Ok(ShipSeries {
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
            bulk_duration: Family::register(registry, catalog::BULK_DURATION, &DURATION_EDGES_S)?,
            retried: Family::register(registry, catalog::EVENTS_RETRIED, &[])?,
            blocked: Family::register(registry, catalog::SHIPPING_BLOCKED, &[])?,
            dependency_up: Family::register(registry, catalog::DEPENDENCY_UP, &[])?,
            spans: Family::register(registry, catalog::SPANS, &[])?,
            audit_lines: Family::register(registry, catalog::AUDIT_LINES, &[])?,
        })
    }

    /// Names of the services whose last call went wrong.
    pub(super) fn dependencies_down(&self) -> Vec<String> {
        let all = self.dependency_up.all().into_iter();
        let down = all.filter(|(_, up)| up.get() == 0);
        down.flat_map(|(names, _)| names).collect()
    }

    pub(super) fn dependency_up(&self) -> &Family<IntGauge> {
        &self.dependency_up
    }

    /// What a shipper observes by itself: shown from its start on.
    pub(super) fn start(&self) -> Result<Shipping> {
        let up = self.dependency_up.series(&["elasticsearch"])?;
        // Nothing went wrong as long as nothing was sent.
        up.set(1);
        let obstacles = Condition::ALL.map(|condition| {
            Ok(Series {
                condition,
                retried: self.retried.series(&[condition.as_str()])?,
                present: self.blocked.series(&[condition.as_str()])?,
            })
        });
        Ok(Shipping {
            bulk_duration: self.bulk_duration.series(&[])?,
            up,
            obstacles: Obstacles(obstacles.into_iter().collect::<Result<_>>()?),
        })
    }

    /// What an audit log counts: shown from its start on.
    pub(super) fn audit(&self) -> Result<audit::Counts> {
        Ok(audit::Counts {
            written: self.audit_lines.series(&["written"])?,
            dropped: self.audit_lines.series(&["dropped"])?,
        })
    }

    /// What the shipper of alerts' transitions observes. Its bulk requests are few, and shown nowhere.
    pub(super) fn start_unshown(&self) -> Result<Shipping> {
        let options = HistogramOpts::new("unshown", "Shown nowhere.");
        Ok(Shipping {
            bulk_duration: Histogram::with_opts(options)?,
            up: IntGauge::new("unshown", "Shown nowhere.")?,
            obstacles: Obstacles(Vec::new()),
        })
    }

    /// What an exporter of spans counts: shown from its start on.
    pub(super) fn spans(&self) -> Result<SpanCounts> {
        let up = self.dependency_up.series(&["otlp"])?;
        // Nothing went wrong as long as nothing was sent.
        up.set(1);
        Ok(SpanCounts {
            exported: self.spans.series(&["exported"])?,
            failed: self.spans.series(&["failed"])?,
            dropped: self.spans.series(&["dropped"])?,
            up,
        })
    }

    /// Takes over what the books say now.
    pub(super) fn read(&self, ship: &Ship) {
        let counts = ship.ledger.counts();
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
        let oldest = ship.spool.oldest_at();
        let age = oldest.map_or(0, |at| clock::unix_now().saturating_sub(at).as_secs());
        for (gauge, value) in [
            (&self.in_channel, counts.in_channel),
            (&self.spool_events, counts.spooled),
            (&self.spool_bytes, ship.spool.bytes()),
            (&self.spool_oldest, age),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}
