//! A pipeline: one route with everything its requests meet, built once.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use super::upstream::Kind;
use crate::backend::Backend;
use crate::backend::loops::LoopToken;
use crate::cache::Answers;
use crate::clock;
use crate::config::{self, Config};
use crate::content;
use crate::exchange::Exchange;
use crate::http::session::Session;
use crate::limit::Limits;
use crate::limit::concurrency::Concurrency;
use crate::metrics::{Held, HeldByRoute};
use crate::random;
use crate::record;
use crate::route::Table;
use crate::route::path::EncodedSlash;
use crate::signature::Verifier;
use crate::signature::memory::Memory;
use crate::trace::Sampling;

/// A body up to this size is read whole also where nobody looks into it: that is the cheap way.
const HELD_BYTES: u64 = 64 * 1024;

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
    pub(crate) verifier: Option<Verifier>,
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
            default_platform: Arc::from(record::NO_PLATFORM),
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

    /// What the pipelines hold now.
    #[must_use]
    pub fn held(&self) -> Held {
        let answers = self
            .pipelines
            .iter()
            .filter_map(|pipeline| pipeline.answers.as_ref());
        Held {
            cache_bytes: answers.map(Answers::bytes).sum(),
            routes: self
                .pipelines
                .iter()
                .map(|pipeline| pipeline.held())
                .collect(),
            ..Held::default()
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
            verifier: Verifier::new(&route.signature, memory),
            limits: Limits::new(&route.rate_limits),
            concurrency: route.concurrency.map(|max| Arc::new(Concurrency::new(max))),
            answers: route.cache.as_ref().map(Answers::new),
            backend: backends[route.backend].clone(),
            trusted_proxies: trusted_proxies.clone(),
            config: route.clone(),
        }
    }

    fn held(&self) -> HeldByRoute {
        let limited = !self.config.rate_limits.is_empty();
        let in_use = self.concurrency.as_ref().map(|places| places.in_use());
        HeldByRoute {
            route: self.config.name.clone(),
            limit_keys: limited.then(|| self.limits.keys() as u64),
            in_use: in_use.map(|in_use| in_use as u64),
        }
    }

    /// What kind of exchange a request begins. A protocol that weir does not speak is for nobody's eyes:
    /// where a stage has to look into the body, only a request without one can be upgraded.
    pub(crate) fn kind(&self, session: &Session) -> Kind {
        if session.upgrade().is_some() && (self.is_unseen() || has_no_body(session)) {
            return Kind::Upgrade;
        }
        let grpc = session.is_http2() && is_grpc(&session.head().headers);
        match grpc && self.is_unseen() && self.answers.is_none() {
            true => Kind::Grpc,
            false => Kind::Plain,
        }
    }

    /// Whether the body of a request goes on as it comes: no stage of this pipeline looks into it, and it is
    /// larger than what is as cheap to hold.
    pub(crate) fn relays(&self, kind: Kind, session: &Session) -> bool {
        match kind {
            Kind::Grpc | Kind::Upgrade => true,
            Kind::Plain => self.is_unseen() && self.answers.is_none() && is_large(session),
        }
    }

    /// What has become of the headers of a signature that has been checked: those that stay at the door,
    /// and those that go on and are no part of what is asked.
    pub(crate) fn settled_headers(&self, exchange: &Exchange) -> (&[HeaderName], &[HeaderName]) {
        match (&self.verifier, &exchange.signature) {
            (Some(verifier), Some(signature)) => (
                verifier.stripped_headers(signature.scheme),
                verifier.verified_headers(signature.scheme),
            ),
            _ => (&[], &[]),
        }
    }

    /// Whether no signature covers the body.
    fn is_unseen(&self) -> bool {
        !self.verifier.as_ref().is_some_and(Verifier::reads_body)
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
        Some(bytes) => bytes > HELD_BYTES,
        None => session.has_open_body(),
    }
}
