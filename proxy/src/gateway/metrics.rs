//! The metrics of the gateway: requests in flight, and what is occupied at the moment of a scrape.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Result};

use super::{Gateway, cache_metrics};
use crate::backend::health::HealthStatus;
use crate::generation::occupancy::Occupancy;
use crate::metrics::catalog::Definition;
use crate::metrics::family::Family;
use crate::metrics::{Metrics, NAMES_MAX, catalog, snapshot};

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
    let caching = gateway.clone();
    cache_metrics::expose(metrics, move || caching.generation().take_cache_counts())?;
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
    let buffered_bytes = metrics.gauge(catalog::BUFFERED_BYTES)?.series(&[])?;
    let limit_keys = NamedGauges::register(metrics, catalog::RATE_LIMIT_KEYS)?;
    let followers = NamedGauges::register(metrics, catalog::CACHE_FOLLOWERS)?;
    let in_use = NamedGauges::register(metrics, catalog::CONCURRENCY_IN_USE)?;
    let circuits = NamedGauges::register(metrics, catalog::CIRCUIT_OPEN)?;
    metrics.on_scrape(move || {
        let occupancy = read();
        set(&buffered_bytes, occupancy.buffered_bytes);
        // A route without rate limits, or without a limit of its concurrency, is at 0.
        let routes = occupancy.routes.iter();
        let keys = routes.clone();
        limit_keys.set(keys.map(|at| (&at.route, at.limit_keys.unwrap_or(0))));
        let followed = routes.clone();
        followers.set(followed.map(|at| (&at.route, at.followers.unwrap_or(0))));
        in_use.set(routes.map(|at| (&at.route, at.in_use.unwrap_or(0))));
        let backends = occupancy.backends.iter();
        circuits.set(backends.map(|at| (&at.backend, at.endpoints)));
    });
    Ok(())
}

/// The gauges of one metric by the name of a route or a backend. One that a reload has removed is at 0 afterwards;
/// beyond [`NAMES_MAX`] names, new ones have no gauge.
struct NamedGauges {
    family: Family<IntGauge>,
    known: Mutex<BTreeMap<Arc<str>, IntGauge>>,
}

impl NamedGauges {
    fn register(metrics: &Metrics, definition: Definition) -> Result<Self> {
        Ok(NamedGauges {
            family: metrics.gauge(definition)?,
            known: Mutex::default(),
        })
    }

    fn set<'n>(&self, values: impl Iterator<Item = (&'n Arc<str>, u64)>) {
        let mut values: BTreeMap<_, _> = values.collect();
        let mut known = self.known.lock();
        for (name, gauge) in known.iter() {
            set(gauge, values.remove(name).unwrap_or(0));
        }
        for (name, value) in values {
            // The tests of the catalog ensure that every series can be created.
            if known.len() < NAMES_MAX
                && let Ok(gauge) = self.family.series(&[name])
            {
                set(&gauge, value);
                known.insert(name.clone(), gauge);
            }
        }
    }
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

pub(super) fn set(gauge: &IntGauge, value: u64) {
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
            buffered_bytes: 70_000,
            routes: vec![RouteOccupancy {
                route: "chat".into(),
                limit_keys: Some(3),
                followers: Some(4),
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
            ("weir_buffered_bytes", "70000"),
            (r#"weir_rate_limit_keys{route="chat"}"#, "3"),
            (r#"weir_cache_followers{route="chat"}"#, "4"),
            (r#"weir_concurrency_in_use{route="chat"}"#, "2"),
            (r#"weir_circuit_open{backend="assistant"}"#, "1"),
        ] {
            assert_eq!(value(&text(&metrics), series), Some(expected), "{series}");
        }
        drop(one);
        assert_eq!(value(&text(&metrics), "weir_requests_in_flight"), Some("0"));
    }

    #[test]
    fn names_that_a_reload_removed_are_at_zero_and_all_are_bounded() {
        let metrics = Metrics::new().expect("metrics");
        let gauges = NamedGauges::register(&metrics, catalog::CIRCUIT_OPEN).expect("gauges");
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        gauges.set([(&a, 2), (&b, 1)].into_iter());
        gauges.set([(&b, 3)].into_iter());
        let text_before = text(&metrics);
        for (backend, expected) in [("a", "0"), ("b", "3")] {
            let series = format!(r#"weir_circuit_open{{backend="{backend}"}}"#);
            assert_eq!(value(&text_before, &series), Some(expected), "{series}");
        }
        for number in 0..2 * NAMES_MAX {
            gauges.set([(&Arc::from(number.to_string()), 1)].into_iter());
        }
        let series = text(&metrics);
        let series = series
            .lines()
            .filter(|line| line.starts_with("weir_circuit_open{"));
        assert_eq!(series.count(), NAMES_MAX);
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
