//! Every metric of weir. The closed list of names, labels and help texts is [`catalog`].
//!
//! A request is counted through handles that were resolved when its route, backend or model was
//! first seen; labels come from the configuration or from closed sets, never from a client.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::proto::LabelPair;
use prometheus::{Encoder as _, Histogram, IntCounter, IntGauge, Registry, Result, TextEncoder};

use self::catalog::{DURATION_EDGES_S, LAG_EDGES_S, OVERHEAD_EDGES_S};
use self::exemplar::{Exemplar, Sighting, Traced};
use self::family::Family;
use self::held::HeldGauges;
use self::known::Known;
use self::process::Process;
use self::series::{BackendSeries, LimitSeries, ModelSeries, RouteSeries, SignatureSeries};
use self::shipping::ShipSeries;
use self::system::Readings;
use self::workers::Workers;
use crate::alert::tally::{Subject, Tallies};
use crate::audit;
use crate::exchange::Exchange;
use crate::ship::Ship;
use crate::system::Reading;

mod alerting;
pub mod catalog;
mod certificates;
mod connections;
mod count;
mod exemplar;
mod family;
mod gauges;
mod held;
mod known;
pub mod look;
mod open_metrics;
mod process;
mod read;
mod replay;
mod series;
mod shipping;
mod system;
mod workers;

pub use alerting::{AlertTiers, AlertWrites, Alerting, NotifierCounts};
pub use certificates::Certificates;
pub use connections::ConnectionCounts;
pub use gauges::{Counted, Gauges};
pub use held::{Held, HeldByRoute, HeldSource};
pub use replay::{CountSource, ReplayDropped};
pub use shipping::{Obstacles, Shipping, SpanCounts};

/// A format that metrics are shown in.
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

/// Past these many, names of one kind are no longer told apart. Only models come from outside; the
/// others are a guard against a mistake.
const NAMES_MAX: usize = 1024;
/// How many models are told apart; the next ones are `other`.
const MODELS_MAX: usize = 50;

/// All metrics of one process.
pub struct Metrics {
    registry: Registry,
    families: Families,
    routes: Known<RouteSeries>,
    backends: Known<BackendSeries>,
    models: Known<ModelSeries>,
    /// Holds `other`, once it is needed.
    other_models: Known<ModelSeries>,
    signatures: Known<SignatureSeries>,
    limits: Known<LimitSeries>,
    gauges: Gauges,
    connections: ConnectionCounts,
    events: Events,
    held: HeldGauges,
    replay_dropped: ReplayDropped,
    shipping: ShipSeries,
    ship: OnceLock<Arc<Ship>>,
    alerting: Alerting,
    certificates: Certificates,
    workers: Workers,
    tallies: Arc<Tallies>,
    runtime_lag: Histogram,
    reading: Arc<Mutex<Reading>>,
}

/// Events by what became of them.
#[derive(Clone, Debug)]
pub(super) struct Events {
    pub(super) recorded: IntCounter,
    pub(super) dropped: IntCounter,
    /// Left none, as `events.sample` wants.
    pub(super) sampled_out: IntCounter,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The families whose series are made as routes, backends and models become known.
#[derive(Debug)]
struct Families {
    requests: Family<IntCounter>,
    request_duration: Family<Traced>,
    overhead: Family<Traced>,
    errors: Family<IntCounter>,
    failed_requests: Family<IntCounter>,
    signature_checks: Family<IntCounter>,
    rate_limit_decisions: Family<IntCounter>,
    cache_lookups: Family<IntCounter>,
    upstream_attempts: Family<IntCounter>,
    upstream_duration: Family<Traced>,
    model_calls: Family<IntCounter>,
    tokens: Family<IntCounter>,
    estimated_tokens: Family<IntCounter>,
    cached_tokens: Family<IntCounter>,
    reasoning_tokens: Family<IntCounter>,
    time_to_first_token: Family<Traced>,
    time_per_output_token: Family<Traced>,
}

impl Families {
    fn register(registry: &Registry) -> Result<Self> {
        let counter = |definition| Family::register(registry, definition, &[]);
        let histogram =
            |definition| Family::<Traced>::register(registry, definition, &DURATION_EDGES_S);
        Ok(Families {
            requests: counter(catalog::REQUESTS)?,
            request_duration: histogram(catalog::REQUEST_DURATION)?,
            overhead: Family::register(registry, catalog::OVERHEAD, &OVERHEAD_EDGES_S)?,
            errors: counter(catalog::ERRORS)?,
            failed_requests: counter(catalog::FAILED_REQUESTS)?,
            signature_checks: counter(catalog::SIGNATURE_CHECKS)?,
            rate_limit_decisions: counter(catalog::RATE_LIMIT_DECISIONS)?,
            cache_lookups: counter(catalog::CACHE_LOOKUPS)?,
            upstream_attempts: counter(catalog::UPSTREAM_ATTEMPTS)?,
            upstream_duration: histogram(catalog::UPSTREAM_DURATION)?,
            model_calls: counter(catalog::MODEL_CALLS)?,
            tokens: counter(catalog::TOKENS)?,
            estimated_tokens: counter(catalog::ESTIMATED_TOKENS)?,
            cached_tokens: counter(catalog::CACHED_TOKENS)?,
            reasoning_tokens: counter(catalog::REASONING_TOKENS)?,
            time_to_first_token: histogram(catalog::TIME_TO_FIRST_TOKEN)?,
            time_per_output_token: histogram(catalog::TIME_PER_OUTPUT_TOKEN)?,
        })
    }
}

impl Families {
    /// The exemplars of one series, where its histogram has some.
    fn exemplars(&self, name: &str, labels: &[LabelPair]) -> Vec<Option<Exemplar>> {
        let traced = [
            &self.request_duration,
            &self.overhead,
            &self.upstream_duration,
            &self.time_to_first_token,
            &self.time_per_output_token,
        ];
        let family = traced.into_iter().find(|family| family.name() == name);
        let series = family.and_then(|family| family.shown_with(labels));
        series.map(|series| series.exemplars()).unwrap_or_default()
    }
}

impl Metrics {
    /// Metrics of these routes (name, platform) and backends (name). Their error series are there
    /// from the start, at zero, also for requests that match no route. What alerts look at is counted
    /// into `tallies`.
    ///
    /// # Errors
    /// Only when the catalog names a metric wrongly or twice.
    pub fn new(routes: &[(&str, &str)], backends: &[&str], tallies: Arc<Tallies>) -> Result<Self> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        let gauge = |definition, values: &[&str]| -> Result<IntGauge> {
            Family::register(&registry, definition, &[])?.series(values)
        };
        gauge(catalog::BUILD_INFO, &[env!("CARGO_PKG_VERSION")])?.set(1);
        let events: Family<IntCounter> = Family::register(&registry, catalog::EVENTS, &[])?;
        registry.register(Box::new(Process::new()?))?;
        let reading = Arc::default();
        registry.register(Box::new(Readings::new(Arc::clone(&reading))?))?;
        let lag: Family<Histogram> =
            Family::register(&registry, catalog::RUNTIME_LAG, &LAG_EDGES_S)?;
        let shipping = ShipSeries::register(&registry, &events)?;
        let metrics = Metrics {
            alerting: Alerting::register(&registry, shipping.dependency_up())?,
            certificates: Certificates::register(&registry)?,
            workers: Workers::register(&registry)?,
            tallies,
            connections: ConnectionCounts::register(&registry)?,
            gauges: Gauges {
                in_flight: gauge(catalog::IN_FLIGHT, &[])?,
            },
            events: Events {
                recorded: events.series(&["recorded"])?,
                dropped: events.series(&["dropped"])?,
                sampled_out: events.series(&["sampled_out"])?,
            },
            held: HeldGauges::register(&registry)?,
            replay_dropped: ReplayDropped::register(&registry)?,
            shipping,
            ship: OnceLock::new(),
            runtime_lag: lag.series(&[])?,
            reading,
            routes: Known::new(NAMES_MAX),
            backends: Known::new(NAMES_MAX),
            models: Known::new(MODELS_MAX),
            other_models: Known::new(1),
            signatures: Known::new(NAMES_MAX),
            limits: Known::new(NAMES_MAX),
            families,
            registry,
        };
        let unmatched = (crate::record::NO_ROUTE, crate::record::NO_PLATFORM);
        for (route, platform) in routes.iter().chain([&unmatched]) {
            metrics.know_route(route, platform)?;
        }
        for backend in backends {
            metrics
                .backends
                .learn(backend, || metrics.backend_series(backend))?;
        }
        Ok(metrics)
    }

    /// What goes up and down while requests are worked on.
    #[must_use]
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// What connections are counted with.
    #[must_use]
    pub fn connections(&self) -> &ConnectionCounts {
        &self.connections
    }

    /// Who is asked at each scrape what is held. The first one stays.
    pub fn set_held_source(&self, source: HeldSource) {
        self.held.set_source(source);
    }

    /// `weir_replay_dropped_total`, which is asked for at each scrape.
    #[must_use]
    pub fn replay_dropped(&self) -> &ReplayDropped {
        &self.replay_dropped
    }

    /// What a shipper needs to start.
    ///
    /// # Errors
    /// Only when the catalog names a metric wrongly.
    pub fn shipping(&self) -> Result<Shipping> {
        self.shipping.start()
    }

    /// What a shipper of alerts' transitions needs to start; shown nowhere.
    ///
    /// # Errors
    /// Never, but by a mistake in a name.
    pub fn shipping_of_alerts(&self) -> Result<Shipping> {
        self.shipping.start_unshown()
    }

    /// Where the ends of certificates are shown.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// What is told of alerts.
    #[must_use]
    pub fn alerting(&self) -> &Alerting {
        &self.alerting
    }

    /// What an audit log counts.
    ///
    /// # Errors
    /// Only when the catalog names a metric wrongly.
    pub fn audit(&self) -> Result<audit::Counts> {
        self.shipping.audit()
    }

    /// What an exporter of spans counts.
    ///
    /// # Errors
    /// Only when the catalog names a metric wrongly.
    pub fn spans(&self) -> Result<SpanCounts> {
        self.shipping.spans()
    }

    /// The shipper that is asked at each scrape. The first one stays.
    pub fn watch(&self, ship: &Arc<Ship>) {
        // A second one would be a second shipper, and there is one.
        drop(self.ship.set(ship.clone()));
    }

    /// Where the readings of the system are shown from.
    #[must_use]
    pub fn reading(&self) -> Arc<Mutex<Reading>> {
        self.reading.clone()
    }

    /// Where the lag of the workers is observed.
    #[must_use]
    pub fn runtime_lag(&self) -> &Histogram {
        &self.runtime_lag
    }

    /// Counts one finished request that took `duration` in all.
    pub fn count(&self, exchange: &Exchange, duration: Duration) {
        let sighting = Sighting::of(exchange, duration);
        self.count_route(exchange, duration, sighting);
        self.count_stages(exchange, duration, sighting);
        self.count_model(exchange, duration, sighting);
    }

    /// All metrics as they are now.
    #[must_use]
    pub fn render(&self, format: Format) -> Vec<u8> {
        self.held.read();
        self.replay_dropped.read();
        if let Some(ship) = self.ship.get() {
            self.shipping.read(ship);
        }
        let families = self.registry.gather();
        if format == Format::OpenMetrics {
            let exemplars =
                |name: &str, labels: &[LabelPair]| self.families.exemplars(name, labels);
            return open_metrics::render(&families, exemplars).into_bytes();
        }
        let mut text = Vec::with_capacity(64 * 1024);
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            log::error!("cannot render the metrics: {error}");
        }
        text
    }

    pub(super) fn events(&self) -> &Events {
        &self.events
    }

    fn know_route(&self, route: &str, platform: &str) -> Result<()> {
        self.routes
            .learn(route, || self.route_series(route, platform))
    }

    fn route_series(&self, route: &str, platform: &str) -> Result<RouteSeries> {
        let (name, of) = (route.into(), platform.into());
        let tally = self.tallies.begin(Subject::Route { name, platform: of });
        RouteSeries::new(&self.families, route, platform, tally)
    }

    fn backend_series(&self, backend: &str) -> Result<BackendSeries> {
        let tally = self.tallies.begin(Subject::Backend(backend.into()));
        BackendSeries::new(&self.families, backend, tally)
    }

    fn model_series(&self, label: &str) -> Result<ModelSeries> {
        let tally = self.tallies.begin(Subject::Model(label.into()));
        ModelSeries::new(&self.families, label, tally)
    }
}

#[cfg(test)]
#[path = "metrics/tests.rs"]
mod tests;
