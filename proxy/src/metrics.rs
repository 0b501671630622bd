//! Prometheus metrics: families and their series, their catalog, and their exposition.
//!
//! This module does not depend on the request pipeline. Each module registers its own series here under a name of the
//! [`catalog`] and keeps the handles, so that counting a request needs no lookup here. Labels come from the
//! configuration or from closed sets, never directly from a client.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::LabelPair;
use prometheus::{Encoder as _, Histogram, IntCounter, IntGauge, Registry, Result, TextEncoder};

use self::catalog::Definition;
use self::exemplar::{ExemplarHistogram, Observation};
use self::family::{Family, MetricSeries};
use self::process::ProcessCollector;
use self::workers::Workers;
use crate::worker::Worker;

pub mod catalog;
pub(crate) mod exemplar;
pub(crate) mod family;
mod guard;
mod open_metrics;
mod process;
pub(crate) mod snapshot;
mod workers;

pub(crate) use guard::InUse;

/// The maximum number of names of one kind, such as routes, since the start of the process; further ones are not counted.
/// Names come from the configuration, which reloads may change as often as they like.
pub(crate) const NAMES_MAX: usize = 1024;

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl ExpositionFormat {
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            ExpositionFormat::Text => "text/plain; version=0.0.4; charset=utf-8",
            ExpositionFormat::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }
    }
}

/// Runs before each scrape, to update metrics that are read instead of counted.
type ScrapeHook = Box<dyn Fn() + Send + Sync>;

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    families: Mutex<RegisteredFamilies>,
    scrape_hooks: Mutex<Vec<ScrapeHook>>,
    dependency_up: Family<IntGauge>,
    workers: Workers,
}

/// Families of one type by their names.
type ByName<S> = BTreeMap<&'static str, Family<S>>;

/// The registered families.
#[derive(Debug, Default)]
pub(crate) struct RegisteredFamilies {
    counters: ByName<IntCounter>,
    gauges: ByName<IntGauge>,
    histograms: ByName<Histogram>,
    with_exemplars: ByName<ExemplarHistogram>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The registry of a process, with the metrics that belong to no module: the build, the process, workers and
    /// dependencies.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::new()?))?;
        let mut families = RegisteredFamilies::default();
        let mut gauge = |definition| families.register(&registry, definition, &[]);
        let build: Family<IntGauge> = gauge(catalog::BUILD_INFO)?;
        build.series(&[env!("CARGO_PKG_VERSION")])?.set(1);
        Ok(Metrics {
            dependency_up: gauge(catalog::DEPENDENCY_UP)?,
            workers: Workers::register(&registry)?,
            families: Mutex::new(families),
            scrape_hooks: Mutex::default(),
            registry,
        })
    }

    /// A family of counters, registered on first use.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name; the same applies to all functions that register.
    pub(crate) fn counter(&self, definition: Definition) -> Result<Family<IntCounter>> {
        self.family(definition, &[])
    }

    /// A family of gauges, registered on first use.
    pub(crate) fn gauge(&self, definition: Definition) -> Result<Family<IntGauge>> {
        self.family(definition, &[])
    }

    /// A family of histograms, registered on first use.
    pub(crate) fn histogram(
        &self,
        definition: Definition,
        edges: &'static [f64],
    ) -> Result<Family<Histogram>> {
        self.family(definition, edges)
    }

    /// A family of histograms with exemplars, registered on first use.
    pub(crate) fn exemplar_histogram(
        &self,
        definition: Definition,
        edges: &'static [f64],
    ) -> Result<Family<ExemplarHistogram>> {
        self.family(definition, edges)
    }

    fn family<S: MetricSeries>(
        &self,
        definition: Definition,
        edges: &'static [f64],
    ) -> Result<Family<S>> {
        let mut families = self.families.lock();
        families.register(&self.registry, definition, edges)
    }

    /// Registers a collector that creates its families at each scrape.
    pub(crate) fn collect(&self, collector: impl Collector + 'static) -> Result<()> {
        self.registry.register(Box::new(collector))
    }

    /// Runs `hook` before each scrape.
    pub(crate) fn on_scrape(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.scrape_hooks.lock().push(Box::new(hook));
    }

    /// A gauge of whether the last call to this service succeeded: 1 until one fails.
    pub(crate) fn dependency(&self, name: &str) -> Result<IntGauge> {
        let up = self.dependency_up.series(&[name])?;
        up.set(1);
        Ok(up)
    }

    /// The services whose last call failed, sorted by name.
    #[must_use]
    pub fn dependencies_down(&self) -> Vec<String> {
        let all = self.dependency_up.all().into_iter();
        let down = all.filter(|(_, up)| up.get() == 0);
        down.flat_map(|(names, _)| names).collect()
    }

    /// The worker of this name, whose metrics are exposed from now on. Names are constants of weir.
    ///
    /// # Errors
    /// Only when the catalog has an invalid name.
    pub fn worker(&self, name: &str) -> Result<Worker> {
        self.workers.worker(name)
    }

    /// All workers by name.
    #[cfg(test)]
    pub(crate) fn workers(&self) -> BTreeMap<String, Worker> {
        self.workers.made()
    }

    /// Renders the current value of all metrics.
    #[must_use]
    pub fn render(&self, format: ExpositionFormat) -> Vec<u8> {
        self.scrape_hooks.lock().iter().for_each(|hook| hook());
        let families = self.registry.gather();
        if format == ExpositionFormat::OpenMetrics {
            let exemplars = |name: &str, labels: &[LabelPair]| self.exemplars(name, labels);
            return open_metrics::render(&families, exemplars).into_bytes();
        }
        let mut text = Vec::with_capacity(64 * 1024);
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            log::error!("cannot render the metrics: {error}");
        }
        text
    }

    /// The exemplars of one series, if its histogram has any.
    fn exemplars(&self, name: &str, labels: &[LabelPair]) -> Vec<Option<Observation>> {
        let families = self.families.lock();
        let family = families.with_exemplars.get(name);
        let series = family.and_then(|family| family.with_labels(labels));
        series
            .map(|series| series.observations())
            .unwrap_or_default()
    }
}

impl RegisteredFamilies {
    fn register<S: MetricSeries>(
        &mut self,
        registry: &Registry,
        definition: Definition,
        edges: &'static [f64],
    ) -> Result<Family<S>> {
        let families = S::families(self);
        if let Some(family) = families.get(definition.name) {
            return Ok(family.clone());
        }
        let family = Family::register(registry, definition, edges)?;
        families.insert(definition.name, family.clone());
        Ok(family)
    }
}
