//! Counts each finished request, by route, platform, backend, model, scheme and policy.
//!
//! The handles of a series are resolved when its route, backend or model is first seen. Labels come from the
//! configuration or from closed sets; the number of model labels is bounded (cardinality).

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, Result};

use self::known::BoundedTable;
use self::series::{
    BackendSeries, LimitSeries, ModelSeries, PlatformSeries, RouteSeries, SignatureSeries,
};
use crate::exchange::{Exchange, NO_PLATFORM, NO_ROUTE, Recorder};
use crate::metrics::catalog::{self, DURATION_EDGES_S, OVERHEAD_EDGES_S};
use crate::metrics::exemplar::{Exemplar, ExemplarHistogram};
use crate::metrics::family::Family;
use crate::metrics::{Metrics, NAMES_MAX};

mod count;
mod known;
mod series;

/// How many models have their own label; further ones are counted as `other`.
const MODELS_MAX: usize = 50;

/// The route, backend or model whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MetricSubject {
    Route { name: Arc<str>, platform: Arc<str> },
    Backend(Arc<str>),
    Model(Arc<str>),
}

/// Creates recorders of the requests of one subject. They are stored with the series of the subject, so that other
/// counters by subject need no lookup and have the same bounds.
pub trait SubjectRecorders: Send + Sync {
    /// The recorder of a new subject; `None` if none is needed.
    fn begin(&self, subject: MetricSubject) -> Option<Arc<dyn Recorder>>;
}

/// No subject has a recorder.
impl SubjectRecorders for () {
    fn begin(&self, _subject: MetricSubject) -> Option<Arc<dyn Recorder>> {
        None
    }
}

/// The recorder of metrics.
pub struct RequestMetrics {
    families: RequestFamilies,
    routes: BoundedTable<PlatformSeries>,
    backends: BoundedTable<BackendSeries>,
    models: BoundedTable<ModelSeries>,
    /// Holds `other` once it is needed.
    other_models: BoundedTable<ModelSeries>,
    signatures: BoundedTable<SignatureSeries>,
    limits: BoundedTable<LimitSeries>,
    subjects: Arc<dyn SubjectRecorders>,
}

impl std::fmt::Debug for RequestMetrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RequestMetrics")
    }
}

/// The families whose series are created as routes, backends and models become known.
#[derive(Debug)]
struct RequestFamilies {
    requests: Family<IntCounter>,
    request_duration: Family<ExemplarHistogram>,
    overhead: Family<ExemplarHistogram>,
    errors: Family<IntCounter>,
    failed_requests: Family<IntCounter>,
    signature_checks: Family<IntCounter>,
    rate_limit_decisions: Family<IntCounter>,
    cache_lookups: Family<IntCounter>,
    upstream_attempts: Family<IntCounter>,
    upstream_duration: Family<ExemplarHistogram>,
    model_calls: Family<IntCounter>,
    tokens: Family<IntCounter>,
    estimated_tokens: Family<IntCounter>,
    cached_tokens: Family<IntCounter>,
    reasoning_tokens: Family<IntCounter>,
    time_to_first_token: Family<ExemplarHistogram>,
    time_per_output_token: Family<ExemplarHistogram>,
}

impl RequestFamilies {
    fn register(metrics: &Metrics) -> Result<Self> {
        let counter = |definition| metrics.counter(definition);
        let histogram = |definition| metrics.exemplar_histogram(definition, &DURATION_EDGES_S);
        Ok(RequestFamilies {
            requests: counter(catalog::REQUESTS)?,
            request_duration: histogram(catalog::REQUEST_DURATION)?,
            overhead: metrics.exemplar_histogram(catalog::OVERHEAD, &OVERHEAD_EDGES_S)?,
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

impl RequestMetrics {
    /// The error series of requests that match no route exist at zero from the start.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub fn register(metrics: &Metrics, subjects: Arc<dyn SubjectRecorders>) -> Result<Self> {
        let requests = RequestMetrics {
            families: RequestFamilies::register(metrics)?,
            routes: BoundedTable::new(NAMES_MAX),
            backends: BoundedTable::new(NAMES_MAX),
            models: BoundedTable::new(MODELS_MAX),
            other_models: BoundedTable::new(1),
            signatures: BoundedTable::new(NAMES_MAX),
            limits: BoundedTable::new(NAMES_MAX),
            subjects,
        };
        requests.add([(NO_ROUTE, NO_PLATFORM)], [])?;
        Ok(requests)
    }

    /// Creates the series of these routes (name, platform) and backends (name), so that they exist at zero before the
    /// first request. Those that exist already are kept.
    ///
    /// # Errors
    /// As [`RequestMetrics::register`].
    pub fn add<'n>(
        &self,
        routes: impl IntoIterator<Item = (&'n str, &'n str)>,
        backends: impl IntoIterator<Item = &'n str>,
    ) -> Result<()> {
        for (route, platform) in routes {
            let named = || self.platforms(route, platform);
            self.routes.add(route, named)?;
            let added = self.routes.with(route, |platforms| {
                platforms.add(platform, || self.route_series(route, platform))
            });
            added.transpose()?;
        }
        for backend in backends {
            self.backends
                .add(backend, || self.backend_series(backend))?;
        }
        Ok(())
    }

    fn platforms(&self, route: &str, platform: &str) -> Result<PlatformSeries> {
        Ok(PlatformSeries::new(self.route_series(route, platform)?))
    }

    fn route_series(&self, route: &str, platform: &str) -> Result<RouteSeries> {
        let subject = self.subjects.begin(MetricSubject::Route {
            name: route.into(),
            platform: platform.into(),
        });
        RouteSeries::new(&self.families, route, platform, subject)
    }

    fn backend_series(&self, backend: &str) -> Result<BackendSeries> {
        let subject = self.subjects.begin(MetricSubject::Backend(backend.into()));
        BackendSeries::new(&self.families, backend, subject)
    }

    fn model_series(&self, label: &str) -> Result<ModelSeries> {
        let subject = self.subjects.begin(MetricSubject::Model(label.into()));
        ModelSeries::new(&self.families, label, subject)
    }
}

impl Recorder for RequestMetrics {
    fn record(&self, exchange: &Exchange, duration: Duration) {
        let exemplar = exemplar(exchange, duration);
        self.count_route(exchange, duration, exemplar);
        self.count_stages(exchange, duration, exemplar);
        self.count_model(exchange, duration, exemplar);
    }

    fn record_background(&self, exchange: &Exchange) {
        if let Some(upstream) = &exchange.upstream {
            self.count_attempts(upstream, |_| true);
        }
    }
}

/// `None` if the request has no spans.
fn exemplar(exchange: &Exchange, duration: Duration) -> Option<Exemplar> {
    exchange.is_traced().then(|| Exemplar {
        trace_id: exchange.trace.trace_id,
        span_id: exchange.trace.span_id,
        at: exchange.received_at + duration,
    })
}

#[cfg(test)]
mod tests;
