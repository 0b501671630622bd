//! Prometheus metrics: families and their series, their catalog, and how they are exposed.
//!
//! This is a leaf: it knows no part of weir. Each module registers its own series here, under a name of
//! the [`catalog`], and keeps the handles; counting a request looks nothing up here. Labels come from the
//! configuration or from closed sets, never from a client.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::LabelPair;
use prometheus::{Encoder as _, Histogram, IntCounter, IntGauge, Registry, Result, TextEncoder};

use self::catalog::Definition;
use self::exemplar::{ExemplarHistogram, Observation};
use self::family::{Family, Series};
use self::process::Process;
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

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl Format {
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Runs before each scrape, to update what is read instead of counted.
type ScrapeHook = Box<dyn Fn() + Send + Sync>;

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    families: Mutex<Families>,
    scrape_hooks: Mutex<Vec<ScrapeHook>>,
    dependency_up: Family<IntGauge>,
    workers: Workers,
}

/// Families of one type by their names.
type ByName<S> = BTreeMap<&'static str, Family<S>>;

/// The registered families.
#[derive(Debug, Default)]
pub(crate) struct Families {
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
    /// The registry of a process, with what belongs to no module: the build, the process, workers and
    /// dependencies.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(Process::new()?))?;
        let mut families = Families::default();
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

    /// A family of counters, registered when it is new.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name; so for all that register.
    pub(crate) fn counter(&self, definition: Definition) -> Result<Family<IntCounter>> {
        self.family(definition, &[])
    }

    /// A family of gauges, registered when it is new.
    pub(crate) fn gauge(&self, definition: Definition) -> Result<Family<IntGauge>> {
        self.family(definition, &[])
    }

    /// A family of histograms, registered when it is new.
    pub(crate) fn histogram(
        &self,
        definition: Definition,
        edges: &'static [f64],
    ) -> Result<Family<Histogram>> {
        self.family(definition, edges)
    }

    /// A family of histograms that keep exemplars, registered when it is new.
    pub(crate) fn exemplar_histogram(
        &self,
        definition: Definition,
        edges: &'static [f64],
    ) -> Result<Family<ExemplarHistogram>> {
        self.family(definition, edges)
    }

    fn family<S: Series>(
        &self,
        definition: Definition,
        edges: &'static [f64],
    ) -> Result<Family<S>> {
        let mut families = self.families.lock();
        families.register(&self.registry, definition, edges)
    }

    /// Registers a collector that makes its families at each scrape.
    pub(crate) fn collect(&self, collector: impl Collector + 'static) -> Result<()> {
        self.registry.register(Box::new(collector))
    }

    /// Runs `hook` before each scrape.
    pub(crate) fn on_scrape(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.scrape_hooks.lock().push(Box::new(hook));
    }

    /// Whether the last call of this service succeeded: 1 until one fails.
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

    /// The counters of a worker of this name, exposed from now on. Names are weir's own.
    ///
    /// # Errors
    /// Only when the catalog has an invalid name.
    pub fn worker(&self, name: &str) -> Result<Worker> {
        self.workers.worker(name)
    }

    /// All workers that were made, by their names.
    #[cfg(test)]
    pub(crate) fn workers(&self) -> BTreeMap<String, Worker> {
        self.workers.made()
    }

    /// All metrics as they are now.
    #[must_use]
    pub fn render(&self, format: Format) -> Vec<u8> {
        self.scrape_hooks.lock().iter().for_each(|hook| hook());
        let families = self.registry.gather();
        if format == Format::OpenMetrics {
            let exemplars = |name: &str, labels: &[LabelPair]| self.exemplars(name, labels);
            return open_metrics::render(&families, exemplars).into_bytes();
        }
        let mut text = Vec::with_capacity(64 * 1024);
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            log::error!("cannot render the metrics: {error}");
        }
        text
    }

    /// The exemplars of one series, where its histogram keeps some.
    fn exemplars(&self, name: &str, labels: &[LabelPair]) -> Vec<Option<Observation>> {
        let families = self.families.lock();
        let family = families.with_exemplars.get(name);
        let series = family.and_then(|family| family.with_labels(labels));
        series
            .map(|series| series.observations())
            .unwrap_or_default()
    }
}

impl Families {
    fn register<S: Series>(
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
