//! The metrics of the gateway: requests in flight, and what is occupied at the moment of a scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Result};

use super::Gateway;
use crate::backend::health::HealthStatus;
use crate::generation::occupancy::Occupancy;
use crate::metrics::{Metrics, catalog, snapshot};

/// Registers the gauge of requests in flight.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name.
pub fn in_flight(metrics: &Metrics) -> Result<IntGauge> {
    metrics.gauge(catalog::IN_FLIGHT)?.series(&[])
}

/// Registers what is read from `gateway` at each scrape.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name.
pub fn expose(gateway: &Arc<Gateway>, metrics: &Metrics) -> Result<()> {
    let occupied = gateway.clone();
    expose_occupancy(metrics, move || occupied.occupancy())?;
    metrics.collect(UpstreamHealth {
        descs: snapshot::descs(&[catalog::UPSTREAM_HEALTHY])?,
        gateway: gateway.clone(),
    })?;
    let dropping = gateway.clone();
    expose_replay_dropped(metrics, move || dropping.generation().replay_dropped())
}

/// The health of the endpoints in use that have been checked: a series ends with its endpoint.
struct UpstreamHealth {
    descs: Vec<Desc>,
    gateway: Arc<Gateway>,
}

impl Collector for UpstreamHealth {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let generation = self.gateway.generation();
        let mut healths: BTreeMap<[&str; 2], f64> = BTreeMap::new();
        for backend in generation.backends() {
            for endpoint in backend.endpoints() {
                let value = match endpoint.health() {
                    HealthStatus::Unknown => continue,
                    HealthStatus::Healthy => 1.0,
                    HealthStatus::Unhealthy => 0.0,
                };
                // An endpoint that is listed twice has one series.
                let labels = [&*backend.config().name, &*endpoint.config().text];
                healths.insert(labels, value);
            }
        }
        let values: Vec<(&[&str], f64)> = healths
            .iter()
            .map(|(labels, value)| (&labels[..], *value))
            .collect();
        vec![snapshot::family(&catalog::UPSTREAM_HEALTHY, &values)]
    }
}

fn expose_occupancy(
    metrics: &Metrics,
    read: impl Fn() -> Occupancy + Send + Sync + 'static,
) -> Result<()> {
    let cache_bytes = metrics.gauge(catalog::CACHE_BYTES)?.series(&["memory"])?;
    let buffered_bytes = metrics.gauge(catalog::BUFFERED_BYTES)?.series(&[])?;
    let limit_keys = metrics.gauge(catalog::RATE_LIMIT_KEYS)?;
    let in_use = metrics.gauge(catalog::CONCURRENCY_IN_USE)?;
    let circuits = metrics.gauge(catalog::CIRCUIT_OPEN)?;
    let known_backends: Mutex<BTreeSet<Arc<str>>> = Mutex::default();
    metrics.on_scrape(move || {
        let occupancy = read();
        set(&cache_bytes, occupancy.cache_bytes);
        set(&buffered_bytes, occupancy.buffered_bytes);
        for route in &occupancy.routes {
            for (family, value) in [(&limit_keys, route.limit_keys), (&in_use, route.in_use)] {
                // The tests of the catalog ensure that every series can be created.
                if let (Some(value), Ok(series)) = (value, family.series(&[&route.route])) {
                    set(&series, value);
                }
            }
        }
        // A backend that a reload has removed has no open circuit.
        let mut known = known_backends.lock();
        known.extend(occupancy.backends.iter().map(|count| count.backend.clone()));
        for name in known.iter() {
            let mut counts = occupancy.backends.iter();
            let count = counts.find(|count| count.backend == *name);
            if let Ok(series) = circuits.series(&[name]) {
                set(&series, count.map_or(0, |count| count.endpoints));
            }
        }
    });
    Ok(())
}

fn expose_replay_dropped(
    metrics: &Metrics,
    read: impl Fn() -> u64 + Send + Sync + 'static,
) -> Result<()> {
    let counter = metrics.counter(catalog::REPLAY_DROPPED)?.series(&[])?;
    // What has been added to the counter: concurrent scrapes must not add the same entries twice.
    let counted = AtomicU64::new(0);
    metrics.on_scrape(move || {
        let now = read();
        let before = counted.fetch_max(now, Ordering::Relaxed);
        counter.inc_by(now.saturating_sub(before));
    });
    Ok(())
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::occupancy::{OpenCircuitCount, RouteOccupancy};
    use crate::metrics::{ExpositionFormat, InUse};

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render(ExpositionFormat::Text)).expect("UTF-8")
    }

    fn value<'t>(text: &'t str, series: &str) -> Option<&'t str> {
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
    }

    #[test]
    fn gauges_follow_the_occupancy() {
        let metrics = Metrics::new().expect("metrics");
        let in_flight = in_flight(&metrics).expect("a gauge");
        let one = InUse::count(&in_flight);
        let occupancy = || Occupancy {
            cache_bytes: 4096,
            buffered_bytes: 70_000,
            routes: vec![RouteOccupancy {
                route: "chat".into(),
                limit_keys: Some(3),
                in_use: Some(2),
            }],
            backends: vec![OpenCircuitCount {
                backend: "assistant".into(),
                endpoints: 1,
            }],
        };
        expose_occupancy(&metrics, occupancy).expect("gauges");
        for (series, expected) in [
            ("weir_requests_in_flight", "1"),
            (r#"weir_cache_bytes{tier="memory"}"#, "4096"),
            ("weir_buffered_bytes", "70000"),
            (r#"weir_rate_limit_keys{route="chat"}"#, "3"),
            (r#"weir_concurrency_in_use{route="chat"}"#, "2"),
            (r#"weir_circuit_open{backend="assistant"}"#, "1"),
        ] {
            assert_eq!(value(&text(&metrics), series), Some(expected), "{series}");
        }
        drop(one);
        assert_eq!(value(&text(&metrics), "weir_requests_in_flight"), Some("0"));
    }

    #[test]
    fn dropped_replay_entries_are_counted_once_over_all_scrapes() {
        let metrics = Metrics::new().expect("metrics");
        let dropped = Arc::new(AtomicU64::new(0));
        let source = dropped.clone();
        expose_replay_dropped(&metrics, move || source.load(Ordering::Relaxed)).expect("a counter");
        for (count, expected) in [(0, "0"), (3, "3"), (3, "3"), (10, "10")] {
            dropped.store(count, Ordering::Relaxed);
            let text = text(&metrics);
            assert_eq!(value(&text, "weir_replay_dropped_total"), Some(expected));
        }
    }
}
