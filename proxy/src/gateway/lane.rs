//! A lane: one route with everything its requests meet, built once.

use std::sync::Arc;

use http::{HeaderMap, header};
use ipnet::IpNet;

use crate::backend::Backend;
use crate::cache::Answers;
use crate::clock;
use crate::config::Config;
use crate::content;
use crate::gateway::passed::asks_for_upgrade;
use crate::limit::Limits;
use crate::limit::concurrency::Concurrency;
use crate::listener::session::Session;
use crate::record;
use crate::record::metrics::{Held, HeldByRoute};
use crate::route::trace::Sampling;
use crate::route::{self, Table};
use crate::signature::Gate;

/// A body up to this size is carried also where nobody looks into it: that is the cheap way.
const CARRIED_BYTES: u64 = 64 * 1024;

/// Every lane, and what is common to all.
pub struct Lanes {
    pub table: Table,
    pub(crate) lanes: Vec<Arc<Lane>>,
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    pub(crate) default_platform: Arc<str>,
    pub(crate) header_bytes: usize,
    pub(crate) sampling: Sampling,
    pub(crate) content: content::Mode,
}

/// One route with its stages.
pub struct Lane {
    pub(crate) config: Arc<route::Config>,
    pub(crate) gate: Option<Gate>,
    pub(crate) limits: Limits,
    pub(crate) concurrency: Option<Arc<Concurrency>>,
    pub(crate) answers: Option<Answers>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) trusted_proxies: Arc<[IpNet]>,
}

impl Lanes {
    /// Builds the lanes of a checked configuration; `backends` are those of the configuration, in
    /// its order.
    #[must_use]
    pub fn new(config: &Config, backends: &[Arc<Backend>]) -> Self {
        let trusted: Arc<[IpNet]> = config.trusted_proxies.clone().into();
        let lanes = config
            .routes
            .iter()
            .map(|route| Arc::new(Lane::new(route, backends, &trusted)));
        Lanes {
            table: Table::new(config.routes.clone()),
            lanes: lanes.collect(),
            trusted_proxies: trusted.clone(),
            default_platform: Arc::from(record::NO_PLATFORM),
            header_bytes: config.limits.header_bytes,
            sampling: config.sampling,
            content: config.content,
        }
    }

    /// Forgets idle limit keys and expired answers; called on a timer.
    pub fn forget_idle(&self) {
        let now = clock::unix_now();
        for lane in &self.lanes {
            lane.limits.forget_idle();
            if let Some(answers) = &lane.answers {
                answers.forget_expired(now);
            }
        }
    }

    /// What the lanes hold now.
    #[must_use]
    pub fn held(&self) -> Held {
        let answers = self.lanes.iter().filter_map(|lane| lane.answers.as_ref());
        Held {
            cache_bytes: answers.map(Answers::bytes).sum(),
            routes: self.lanes.iter().map(|lane| lane.held()).collect(),
            ..Held::default()
        }
    }
}

impl Lane {
    fn new(
        route: &Arc<route::Config>,
        backends: &[Arc<Backend>],
        trusted_proxies: &Arc<[IpNet]>,
    ) -> Self {
        Lane {
            gate: Gate::new(&route.signature, &route.name),
            limits: Limits::new(&route.rate_limits, &route.name),
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

    /// Whether a request is only watched: upgrades, gRPC, and bodies of any length that no stage of
    /// this lane looks into. A signature that covers the body is a look, except where there is none.
    pub(crate) fn passes(&self, session: &Session) -> bool {
        let unseen = !self.gate.as_ref().is_some_and(Gate::covers_body);
        if session.is_upgrade() && asks_for_upgrade(session.head()) {
            return unseen || has_no_body(session);
        }
        let grpc = session.is_http2() && is_grpc(&session.head().headers);
        unseen && self.answers.is_none() && (grpc || is_large(session))
    }
}

/// Neither a length nor chunks: what is behind the head belongs to the upgraded protocol.
fn has_no_body(session: &Session) -> bool {
    session.announced_bytes().unwrap_or(0) == 0 && !session.has_open_body()
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn is_large(session: &Session) -> bool {
    match session.announced_bytes() {
        Some(bytes) => bytes > CARRIED_BYTES,
        None => session.has_open_body(),
    }
}
