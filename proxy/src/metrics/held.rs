//! What is held for requests at the moment of a scrape.

use std::sync::{Arc, OnceLock};

use prometheus::{IntGauge, Registry, Result};

use super::catalog;
use super::family::Family;

/// What is held at one moment.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Of answers in the cache.
    pub cache_bytes: u64,
    /// Of bodies that have been read, or are being read, and of which room has been set aside.
    pub buffered_bytes: u64,
    /// Of each route that holds something.
    pub routes: Vec<HeldByRoute>,
}

/// What one route holds.
#[derive(Clone, Debug)]
pub struct HeldByRoute {
    pub route: Arc<str>,
    /// Clients, addresses and so on that its rate limits remember; `None` of a route without any.
    pub limit_keys: Option<u64>,
    /// Requests that have a place of its `concurrency`; `None` of a route without a bound.
    pub in_use: Option<u64>,
}

/// Says what is held at this moment.
pub type HeldSource = Box<dyn Fn() -> Held + Send + Sync>;

/// The gauges, and who is asked.
pub(super) struct HeldGauges {
    source: OnceLock<HeldSource>,
    cache_bytes: IntGauge,
    buffered_bytes: IntGauge,
    limit_keys: Family<IntGauge>,
    in_use: Family<IntGauge>,
}

impl HeldGauges {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let cache: Family<IntGauge> = Family::register(registry, catalog::CACHE_BYTES, &[])?;
        let buffered: Family<IntGauge> = Family::register(registry, catalog::BUFFERED_BYTES, &[])?;
        Ok(HeldGauges {
            source: OnceLock::new(),
            cache_bytes: cache.series(&["memory"])?,
            buffered_bytes: buffered.series(&[])?,
            limit_keys: Family::register(registry, catalog::RATE_LIMIT_KEYS, &[])?,
            in_use: Family::register(registry, catalog::CONCURRENCY_IN_USE, &[])?,
        })
    }

    /// Who is asked at each scrape. The first one stays.
    pub(super) fn set_source(&self, source: HeldSource) {
        // A second one would be a second gateway, and there is one.
        drop(self.source.set(source));
    }

    /// Asks.
    pub(super) fn read(&self) {
        let Some(source) = self.source.get() else {
            return;
        };
        let held = source();
        set(&self.cache_bytes, held.cache_bytes);
        set(&self.buffered_bytes, held.buffered_bytes);
        for route in &held.routes {
            for (family, value) in [
                (&self.limit_keys, route.limit_keys),
                (&self.in_use, route.in_use),
            ] {
                // A series that cannot be made has been refused by the catalog's own tests.
                if let (Some(value), Ok(series)) = (value, family.series(&[&route.route])) {
                    set(&series, value);
                }
            }
        }
    }
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
