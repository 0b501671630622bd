//! A pipeline: one route with everything its requests meet, built once.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use super::metrics::{Occupancy, RouteOccupancy};
use super::mode::{BodyMode, RequestKind};
use crate::backend::Backend;
use crate::backend::loops::LoopToken;
use crate::cache::Answers;
use crate::clock;
use crate::config::{self, Config};
use crate::content;
use crate::exchange::{Exchange, NO_PLATFORM};
use crate::http::session::Session;
use crate::limit::Limits;
use crate::limit::concurrency::Concurrency;
use crate::random;
use crate::route::Table;
use crate::route::path::EncodedSlash;
use crate::signature::Gate;
use crate::signature::memory::Memory;
use crate::trace::Sampling;

/// A body up to this size is buffered also where no stage reads it: that is cheaper than passing it through.
const ALWAYS_BUFFERED_BYTES: u64 = 64 * 1024;

/// Every pipeline, and what is common to all.
pub struct RoutePipelines {
    pub table: Table,
    pub(crate) pipelines: Vec<Arc<RoutePipeline>>,
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    pub(crate) default_platform: Arc<str>,
    pub(crate) header_bytes: usize,
    pub(crate) sampling: Sampling,
    pub(crate) content: content::Mode,
    /// How long an upgraded connection, or a stream of gRPC, may be silent.
    pub(crate) upgrade_idle_timeout: Duration,
    pub(crate) encoded_slash: EncodedSlash,
    pub(crate) loop_token: LoopToken,
    memory: Memory,
}

/// One route with its stages.
pub struct RoutePipeline {
    pub(crate) config: Arc<config::Route>,
    pub(crate) gate: Option<Gate>,
    pub(crate) limits: Limits,
    pub(crate) concurrency: Option<Arc<Concurrency>>,
    pub(crate) answers: Option<Answers>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) trusted_proxies: Arc<[IpNet]>,
}

impl RoutePipelines {
    /// Builds the pipelines of a checked configuration; `backends` are those of the configuration, in
    /// its order.
    #[must_use]
    pub fn new(config: &Config, backends: &[Arc<Backend>]) -> Self {
        let trusted: Arc<[IpNet]> = config.trusted_proxies.clone().into();
        let schemes = config.routes.iter().flat_map(|route| &route.signature);
        let memory = Memory::new(schemes);
        let pipelines = config
            .routes
            .iter()
            .map(|route| Arc::new(RoutePipeline::new(route, backends, &trusted, &memory)));
        RoutePipelines {
            table: table(&config.routes),
            pipelines: pipelines.collect(),
            trusted_proxies: trusted.clone(),
            default_platform: Arc::from(NO_PLATFORM),
            header_bytes: config.limits.header_bytes,
            sampling: config.sampling,
            content: config.content,
            upgrade_idle_timeout: config.limits.upgrade_idle_timeout,
            encoded_slash: config.encoded_slash,
            loop_token: LoopToken::new(random::bits() as u64),
            memory,
        }
    }

    /// How many requests were forgotten, as seen before, before their time.
    #[must_use]
    pub fn replay_dropped(&self) -> u64 {
        self.memory.dropped()
    }

    /// Forgets idle limit keys and expired answers; called on a timer.
    pub fn forget_idle(&self) {
        let now = clock::unix_now();
        for pipeline in &self.pipelines {
            pipeline.limits.forget_idle();
            if let Some(answers) = &pipeline.answers {
                answers.forget_expired(now);
            }
        }
    }

    /// What the pipelines occupy now.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let answers = self
            .pipelines
            .iter()
            .filter_map(|pipeline| pipeline.answers.as_ref());
        Occupancy {
            cache_bytes: answers.map(Answers::bytes).sum(),
            routes: self
                .pipelines
                .iter()
                .map(|pipeline| pipeline.occupancy())
                .collect(),
            ..Occupancy::default()
        }
    }
}

impl RoutePipeline {
    fn new(
        route: &Arc<config::Route>,
        backends: &[Arc<Backend>],
        trusted_proxies: &Arc<[IpNet]>,
        memory: &Memory,
    ) -> Self {
        RoutePipeline {
            gate: Gate::sharing(&route.signature, &route.name, memory),
            limits: Limits::new(&route.rate_limits, &route.name),
            concurrency: route.concurrency.map(|max| Arc::new(Concurrency::new(max))),
            answers: route.cache.as_ref().map(Answers::new),
            backend: backends[route.backend].clone(),
            trusted_proxies: trusted_proxies.clone(),
            config: route.clone(),
        }
    }

    fn occupancy(&self) -> RouteOccupancy {
        let limited = !self.config.rate_limits.is_empty();
        let in_use = self.concurrency.as_ref().map(|places| places.in_use());
        RouteOccupancy {
            route: self.config.name.clone(),
            limit_keys: limited.then(|| self.limits.keys() as u64),
            in_use: in_use.map(|in_use| in_use as u64),
        }
    }

    /// The kind of exchange that a request begins. weir cannot read the protocol of an upgraded connection:
    /// where a stage has to read the body, only a request without one can be upgraded.
    pub(crate) fn kind(&self, session: &Session) -> RequestKind {
        if session.upgrade().is_some() && (!self.verifies_body() || has_no_body(session)) {
            return RequestKind::Upgrade;
        }
        let grpc = session.is_http2() && is_grpc(&session.head().headers);
        match grpc && !self.reads_body() {
            true => RequestKind::Grpc,
            false => RequestKind::Plain,
        }
    }

    /// A body is passed through where no stage of this pipeline reads it, unless it is small enough for
    /// buffering to be cheaper.
    pub(crate) fn body_mode(&self, kind: RequestKind, session: &Session) -> BodyMode {
        match kind {
            RequestKind::Grpc | RequestKind::Upgrade => BodyMode::PassThrough,
            RequestKind::Plain if !self.reads_body() && is_large(session) => BodyMode::PassThrough,
            RequestKind::Plain => BodyMode::Buffered,
        }
    }

    /// The headers of the verified signature: those that are stripped from what the backend gets, and those
    /// that are forwarded and no part of a cache key.
    pub(crate) fn signature_headers(&self, exchange: &Exchange) -> (&[HeaderName], &[HeaderName]) {
        match (&self.gate, &exchange.signature) {
            (Some(gate), Some(signature)) => (
                gate.withheld_headers(signature.scheme),
                gate.verified_headers(signature.scheme),
            ),
            _ => (&[], &[]),
        }
    }

    /// Whether a stage reads the body: the signature stage or the cache.
    fn reads_body(&self) -> bool {
        self.verifies_body() || self.answers.is_some()
    }

    /// Whether the signature covers the body.
    fn verifies_body(&self) -> bool {
        self.gate.as_ref().is_some_and(Gate::covers_body)
    }
}

fn table(routes: &[Arc<config::Route>]) -> Table {
    let matching = routes.iter().map(|route| route.matching.clone());
    Table::new(matching.collect(), config::Route::requirements(routes))
}

/// Neither a length nor chunks: what is behind the head belongs to the upgraded protocol.
fn has_no_body(session: &Session) -> bool {
    session.announced_bytes().unwrap_or(0) == 0 && !session.has_open_body()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn is_large(session: &Session) -> bool {
    match session.announced_bytes() {
        Some(bytes) => bytes > ALWAYS_BUFFERED_BYTES,
        None => session.has_open_body(),
    }
}
