//! Counts each finished request, by route, platform, backend, model, scheme and policy.
//!
//! The handles of a series are resolved when its route, backend or model is first seen. Labels come from
//! the configuration or from closed sets; the names of models are bounded (cardinality).

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, Result};

use self::known::Known;
use self::series::{BackendSeries, LimitSeries, ModelSeries, RouteSeries, SignatureSeries};
use crate::exchange::{Exchange, NO_PLATFORM, NO_ROUTE, Recorder};
use crate::metrics::Metrics;
use crate::metrics::catalog::{self, DURATION_EDGES_S, OVERHEAD_EDGES_S};
use crate::metrics::exemplar::{Exemplar, ExemplarHistogram};
use crate::metrics::family::Family;

mod count;
mod known;
mod series;

/// Names of one kind beyond this are not told apart. Only models come from outside; for the others it
/// guards against a bug.
const NAMES_MAX: usize = 1024;
/// How many models have a label of their own; the next ones are `other`.
const MODELS_MAX: usize = 50;

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Route { name: Arc<str>, platform: Arc<str> },
    Backend(Arc<str>),
    Model(Arc<str>),
}

/// Makes recorders of the requests of one subject: each series of a subject has one beside it, so that
/// what else counts by subject needs no lookup and has the same bounds.
pub trait SubjectRecorders: Send + Sync {
    /// The recorder of a subject that was not known before; `None` when nobody needs it.
    fn begin(&self, subject: Subject) -> Option<Arc<dyn Recorder>>;
}

/// No subject has a recorder.
impl SubjectRecorders for () {
    fn begin(&self, _subject: Subject) -> Option<Arc<dyn Recorder>> {
        None
    }
}

/// The recorder of metrics.
pub struct RequestMetrics {
    families: Families,
    routes: Known<RouteSeries>,
    backends: Known<BackendSeries>,
    models: Known<ModelSeries>,
    /// Holds `other`, once it is needed.
    other_models: Known<ModelSeries>,
    signatures: Known<SignatureSeries>,
    limits: Known<LimitSeries>,
    subjects: Arc<dyn SubjectRecorders>,
}

impl std::fmt::Debug for RequestMetrics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RequestMetrics")
    }
}

/// The families whose series are made as routes, backends and models become known.
#[derive(Debug)]
struct Families {
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

impl Families {
    fn register(metrics: &Metrics) -> Result<Self> {
        let counter = |definition| metrics.counter(definition);
        let histogram = |definition| metrics.exemplar_histogram(definition, &DURATION_EDGES_S);
        Ok(Families {
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
    /// Metrics of these routes (name, platform) and backends (name). Their error series are there
    /// from the start, at zero, also for requests that match no route.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub fn register(
        metrics: &Metrics,
        routes: &[(&str, &str)],
        backends: &[&str],
        subjects: Arc<dyn SubjectRecorders>,
    ) -> Result<Self> {
        let requests = RequestMetrics {
            families: Families::register(metrics)?,
            routes: Known::new(NAMES_MAX),
            backends: Known::new(NAMES_MAX),
            models: Known::new(MODELS_MAX),
            other_models: Known::new(1),
            signatures: Known::new(NAMES_MAX),
            limits: Known::new(NAMES_MAX),
            subjects,
        };
        let unmatched = (NO_ROUTE, NO_PLATFORM);
        for (route, platform) in routes.iter().chain([&unmatched]) {
            let series = || requests.route_series(route, platform);
            requests.routes.add(route, series)?;
        }
        for backend in backends {
            let series = || requests.backend_series(backend);
            requests.backends.add(backend, series)?;
        }
        Ok(requests)
    }

    fn route_series(&self, route: &str, platform: &str) -> Result<RouteSeries> {
        let subject = self.subjects.begin(Subject::Route {
            name: route.into(),
            platform: platform.into(),
        });
        RouteSeries::new(&self.families, route, platform, subject)
    }

    fn backend_series(&self, backend: &str) -> Result<BackendSeries> {
        let subject = self.subjects.begin(Subject::Backend(backend.into()));
        BackendSeries::new(&self.families, backend, subject)
    }

    fn model_series(&self, label: &str) -> Result<ModelSeries> {
        let subject = self.subjects.begin(Subject::Model(label.into()));
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
}

/// `None` when no spans are made of the request.
fn exemplar(exchange: &Exchange, duration: Duration) -> Option<Exemplar> {
    exchange.is_traced().then(|| Exemplar {
        trace_id: exchange.trace.trace_id,
        span_id: exchange.trace.span_id,
        at: exchange.received_at + duration,
    })
}

#[cfg(test)]
mod tests;
