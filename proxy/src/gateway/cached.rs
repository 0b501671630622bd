//! The cache stage of the gateway: where the response to a request comes from, if it is not sent to a backend.

use std::sync::Arc;

use super::coalesce::{self, Coalesced, LookedUp, WaitingRequests};
use super::http_cache::HttpFetch;
use super::http_coalesce::{self, HttpFound};
use super::mode::RequestKind;
use super::{ResponseSource, Stop};
use crate::cache::{BypassReason, CacheDecision};
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::session::Session;
use crate::signature::delivery::Delivery;

/// What the caches of a route have for a request.
pub(super) enum CacheFound {
    Source(ResponseSource),
    /// It is sent to a backend. Whether the response may be stored, and who else waits for it; and what the HTTP cache does
    /// with it, if anything.
    Forward((CacheDecision, WaitingRequests), Option<Box<HttpFetch>>),
}

impl CacheFound {
    /// Of a request that no cache has to do with.
    pub(super) fn nothing() -> Self {
        CacheFound::Forward(unstored(), None)
    }
}

/// Nothing is stored in the cache of answers, and nobody waits.
fn unstored() -> (CacheDecision, WaitingRequests) {
    let decision = CacheDecision::Bypass(BypassReason::Uncached);
    (decision, WaitingRequests::default())
}

/// Looks for a stored response, or an equal request in flight. A request is one of a kind, with the decision of the cache
/// of answers, the body if it is buffered, and the delivery that it is.
///
/// # Errors
/// The client left, the equal request failed, or the client accepts a stored response only.
pub(super) async fn find(
    pipeline: &Arc<RoutePipeline>,
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    (decision, kind, body, delivery): (
        Option<CacheDecision>,
        RequestKind,
        Option<&[u8]>,
        Option<&Delivery>,
    ),
) -> Result<CacheFound, Stop> {
    let Some(decision) = decision else {
        return find_http(pipeline, session, exchange, connection, (kind, body)).await;
    };
    let missed = match coalesce::look_up(pipeline, exchange, decision) {
        LookedUp::Hit(stored, age_s) => {
            return Ok(CacheFound::Source(ResponseSource::Stored(stored, age_s)));
        }
        LookedUp::Miss(decision, mark) => (decision, mark, delivery),
    };
    let joined = coalesce::join(pipeline, session, exchange, connection, missed).await?;
    Ok(match joined {
        Coalesced::Hit(stored, age_s) => CacheFound::Source(ResponseSource::Stored(stored, age_s)),
        Coalesced::Followed(followed) => {
            let backend = pipeline.backend.clone();
            CacheFound::Source(ResponseSource::Followed(followed, backend))
        }
        Coalesced::Forward(decision, waiting) => CacheFound::Forward((decision, waiting), None),
    })
}

async fn find_http(
    pipeline: &Arc<RoutePipeline>,
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    request: (RequestKind, Option<&[u8]>),
) -> Result<CacheFound, Stop> {
    let found = http_coalesce::find(pipeline, session, exchange, connection, request).await?;
    Ok(match found {
        HttpFound::Reused(reused) => CacheFound::Source(ResponseSource::Reused(reused)),
        HttpFound::Followed(followed, backend) => {
            CacheFound::Source(ResponseSource::HttpFollowed(followed, backend))
        }
        HttpFound::Forward(fetch) => CacheFound::Forward(unstored(), fetch),
    })
}
