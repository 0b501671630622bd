//! The metrics of what the caches hold, and of why responses left them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, Result};

use crate::cache::{MemoryCounts, RemovedCounts};
use crate::metrics::family::Family;
use crate::metrics::{Metrics, NAMES_MAX, catalog};

/// The tier of this process.
const MEMORY: &str = "memory";

/// Registers what is read from the caches at each scrape; `take` gives the counts of each route since its last call.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name.
pub(super) fn expose(
    metrics: &Metrics,
    take: impl Fn() -> Vec<(Arc<str>, MemoryCounts)> + Send + Sync + 'static,
) -> Result<()> {
    let bytes = metrics.gauge(catalog::CACHE_BYTES)?.series(&[MEMORY])?;
    let entries = metrics.gauge(catalog::CACHE_ENTRIES)?.series(&[MEMORY])?;
    let evictions = EvictionCounters {
        family: metrics.counter(catalog::CACHE_EVICTIONS)?,
        known: Mutex::default(),
    };
    metrics.on_scrape(move || {
        let routes = take();
        set(&bytes, routes.iter().map(|(_, counts)| counts.bytes).sum());
        set(
            &entries,
            routes.iter().map(|(_, counts)| counts.entries).sum(),
        );
        for (route, counts) in &routes {
            evictions.add(route, &counts.removed);
        }
    });
    Ok(())
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// The counters of each route. Beyond [`NAMES_MAX`] names, new ones have none.
struct EvictionCounters {
    family: Family<IntCounter>,
    known: Mutex<BTreeMap<Arc<str>, [IntCounter; 3]>>,
}

impl EvictionCounters {
    fn add(&self, route: &Arc<str>, removed: &RemovedCounts) {
        let mut known = self.known.lock();
        if !known.contains_key(route) && known.len() < NAMES_MAX {
            // The tests of the catalog ensure that every series can be created.
            let series = |reason| self.family.series(&[&**route, reason]);
            if let (Ok(full), Ok(expired), Ok(purged)) =
                (series("full"), series("expired"), series("purged"))
            {
                known.insert(route.clone(), [full, expired, purged]);
            }
        }
        if let Some([full, expired, purged]) = known.get(route) {
            full.inc_by(removed.full);
            expired.inc_by(removed.expired);
            purged.inc_by(removed.purged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ExpositionFormat;

    #[test]
    fn gauges_are_sums_and_evictions_are_counted_by_route_and_reason() {
        let metrics = Metrics::new().expect("metrics");
        let counts = |bytes, full| MemoryCounts {
            bytes,
            entries: bytes / 100,
            removed: RemovedCounts {
                full,
                expired: 1,
                purged: 0,
            },
        };
        let take = move || {
            vec![
                ("chat".into(), counts(500, 3)),
                ("page".into(), counts(700, 0)),
            ]
        };
        expose(&metrics, take).expect("metrics");
        let text = || String::from_utf8(metrics.render(ExpositionFormat::Text)).expect("UTF-8");
        text();
        let text = text();
        for series in [
            r#"weir_cache_bytes{tier="memory"} 1200"#,
            r#"weir_cache_entries{tier="memory"} 12"#,
            r#"weir_cache_evictions_total{reason="full",route="chat"} 6"#,
            r#"weir_cache_evictions_total{reason="full",route="page"} 0"#,
            r#"weir_cache_evictions_total{reason="expired",route="page"} 2"#,
            r#"weir_cache_evictions_total{reason="purged",route="page"} 0"#,
        ] {
            assert!(text.lines().any(|line| line == series), "{series}\n{text}");
        }
    }
}
