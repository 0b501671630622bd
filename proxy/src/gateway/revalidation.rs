//! Revalidates a stale response in the background (RFC 5861, section 3), while the request that found it is served.
//!
//! It is a request of weir's own, without a client: it leaves no event, and one at most is in progress for each stored
//! response. A drain waits for it.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use super::coalesce::WaitingRequests;
use super::http_cache::{self, HttpFetch};
use super::mode::RequestKind;
use super::upstream::{self, Call, Upstream};
use super::{ResponseSource, downstream};
use crate::backend::request_body::RequestBody;
use crate::cache::{BypassReason, CacheDecision};
use crate::clock;
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::relay::{Relay, TrailingBytes};
use crate::http::session::Session;

/// Begins to revalidate the stored response of `fetch`, unless that is in progress already.
pub(super) fn start(
    pipeline: Arc<RoutePipeline>,
    session: &Session,
    exchange: &Exchange,
    connection: &Connection,
    fetch: Box<HttpFetch>,
) {
    let Some(revalidation) = fetch.begin_revalidation() else {
        return;
    };
    let Some(mut session) = session.without_client(connection) else {
        return;
    };
    session.ask_for_whole();
    let mut exchange = exchange.in_background(clock::now());
    exchange.method = Method::GET;
    let connection = Connection {
        slot: None,
        ..connection.clone()
    };
    tokio::spawn(async move {
        run(&pipeline, &mut session, &mut exchange, &connection, fetch).await;
        drop(revalidation);
    });
}

async fn run(
    pipeline: &Arc<RoutePipeline>,
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    fetch: Box<HttpFetch>,
) {
    let started_at = clock::now();
    let call = Call {
        connection,
        kind: RequestKind::Plain,
        started_at,
        validators: fetch.validators(),
    };
    let mut relay = Relay::whole(TrailingBytes::Pipelined, started_at);
    let body = RequestBody::whole(Bytes::new());
    let called = upstream::call(pipeline, session, exchange, &call, body, &mut relay);
    let Ok(response) = Box::pin(called).await else {
        return;
    };
    let decision = CacheDecision::Bypass(BypassReason::Uncached);
    let none = (decision, WaitingRequests::default());
    let upstream = Box::new(Upstream::new(
        pipeline.clone(),
        &call,
        none,
        response,
        relay,
    ));
    let source = http_cache::of_response(session, exchange, upstream, fetch);
    if let ResponseSource::Upstream(mut upstream, fetch) = source {
        let idle = pipeline.shared.upgrade_idle_timeout;
        let now = clock::now();
        downstream::deliver(session, exchange, &mut upstream, fetch, idle, now).await;
        upstream.report(exchange);
    }
}
