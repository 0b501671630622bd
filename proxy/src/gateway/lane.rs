//! A lane: one route with everything its requests meet, built once.

use std::sync::Arc;
use std::time::Duration;

use http::header;
use ipnet::IpNet;
use pingora::protocols::http::ServerSession;

use crate::backend::Backend;
use crate::body::announced_bytes;
use crate::cache::Answers;
use crate::config::Config;
use crate::gateway::passed::asks_for_upgrade;
use crate::limit::Limits;
use crate::limit::concurrency::Concurrency;
use crate::record;
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
    /// How long a client may leave its answer unread.
    pub(crate) idle_timeout: Duration,
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
            idle_timeout: config.limits.idle_timeout,
        }
    }

    /// Forgets idle limit keys; called on a timer.
    pub fn forget_idle(&self) {
        for lane in &self.lanes {
            lane.limits.forget_idle();
        }
    }

    /// Bytes of answers in memory.
    #[must_use]
    pub fn cache_bytes(&self) -> u64 {
        self.lanes
            .iter()
            .filter_map(|lane| lane.answers.as_ref())
            .map(Answers::bytes)
            .sum()
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

    /// Whether a request is only watched: upgrades, gRPC, and bodies of any length that no stage of
    /// this lane looks into. A signature that covers the body is a look, except where there is none.
    pub(crate) fn passes(&self, session: &ServerSession) -> bool {
        let unseen = !self.gate.as_ref().is_some_and(Gate::covers_body);
        if session.is_upgrade_req() && asks_for_upgrade(session.req_header()) {
            return unseen || has_no_body(session);
        }
        unseen && self.answers.is_none() && (is_grpc(session) || is_large(session))
    }
}

/// Neither a length nor chunks: what is behind the head belongs to the upgraded protocol.
fn has_no_body(session: &ServerSession) -> bool {
    announced_bytes(session).unwrap_or(0) == 0
        && session
            .get_header(header::CONTENT_LENGTH)
            .is_none_or(|value| value == "0")
        && session.get_header(header::TRANSFER_ENCODING).is_none()
}

pub(super) fn is_grpc(session: &ServerSession) -> bool {
    session.is_http2()
        && session
            .get_header(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn is_large(session: &ServerSession) -> bool {
    match announced_bytes(session) {
        Some(bytes) => bytes > CARRIED_BYTES,
        None if session.is_http2() => {
            session.get_header(header::CONTENT_LENGTH).is_none() && has_open_body(session)
        }
        None => session.get_header(header::TRANSFER_ENCODING).is_some(),
    }
}

/// An HTTP/2 request without a length: its body is open unless the head ended the stream.
fn has_open_body(session: &ServerSession) -> bool {
    session
        .as_http2()
        .is_some_and(|http2| !http2.is_body_empty())
}
