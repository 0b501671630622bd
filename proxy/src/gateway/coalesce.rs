//! Request coalescing in the gateway: a request that finds no stored response follows an equal one in flight, or leads
//! those that come after it.

use std::sync::Arc;

use http::header;

use super::checks::{self, Lookup};
use super::followed::Followed;
use super::redis_lookup::{self, RedisLookedUp};
use super::{Stop, routing};
use crate::cache::copy::SharedHead;
use crate::cache::flight::{FlightMark, Flights, Follower, FollowerStart, Joined, Lead, MayLead};
use crate::cache::redis_tier::{Lease, LeaseUse};
use crate::cache::status::CacheStatus;
use crate::cache::{CacheDecision, CachedResponse};
use crate::clock;
use crate::coding::ServedCoding;
use crate::exchange::{CacheNote, CacheOutcome, CacheTier, Exchange, Stage};
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};
use crate::signature::delivery::Delivery;

/// The leader of equal requests for a stored response.
pub(super) type ResponseLead = Lead<SharedHead>;

/// What the cache stage decided for a request.
pub(super) enum Coalesced {
    /// A stored response, and its age in seconds.
    Hit(Arc<CachedResponse>, u64),
    /// The response to an equal request, which is on its way.
    Followed(Box<Followed<SharedHead>>),
    /// It is sent to the backend. Whether, and under which key, the response may be stored; and who else waits for it.
    Forward(CacheDecision, WaitingRequests),
}

/// The equal requests that wait for the response to this one.
#[derive(Default)]
pub(super) struct WaitingRequests {
    /// In this process.
    pub(super) lead: Option<ResponseLead>,
    /// At other replicas.
    pub(super) lease: Option<Lease>,
}

/// Whether a request may share its response with others. A response that is on its way is not recoded for a client that
/// needs another coding; and a platform's delivery is completed on its own, whoever leaves.
fn may_share(session: &Session, delivery: Option<&Delivery>) -> bool {
    let accepted = session.head().headers.get_all(header::ACCEPT_ENCODING);
    delivery.is_none() && ServedCoding::to(accepted) != ServedCoding::Gzip
}

/// The result of one lookup in memory.
pub(super) enum LookedUp {
    /// A stored response, and its age in seconds.
    Hit(Arc<CachedResponse>, u64),
    /// None; with the moment of the lookup.
    Miss(CacheDecision, Option<FlightMark>),
}

/// Looks for a stored response in memory.
pub(super) fn look_up(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    decision: CacheDecision,
) -> LookedUp {
    let flights = pipeline.cache.as_ref().and_then(|cache| cache.flights());
    // Before the lookup: what is stored behind it is looked up again.
    let mark = flights.map(Flights::mark);
    match checks::look_up(pipeline, exchange, decision) {
        Lookup::Hit(stored, age_s) => LookedUp::Hit(stored, age_s),
        Lookup::Miss(decision) => LookedUp::Miss(decision, mark),
    }
}

/// Looks for an equal request in flight, or a stored response in Redis, after a miss in memory.
pub(super) async fn join(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    missed: (CacheDecision, Option<FlightMark>, Option<&Delivery>),
) -> Result<Coalesced, Stop> {
    let found = join_here(pipeline, session, exchange, connection, missed).await?;
    let Coalesced::Forward(decision, waiting) = found else {
        return Ok(found);
    };
    match redis_lookup::shared(pipeline, decision) {
        None => Ok(Coalesced::Forward(decision, waiting)),
        // Boxed: a route without Redis must not pay for it.
        Some(shared) => {
            let lead = waiting.lead;
            // Only a leader takes the lease, or waits for another replica: its followers wait with it. A stream has no
            // entry before it has ended: waiting would only delay its first token.
            let lease_use = match lead {
                Some(_) if !exchange.model.request_stream => LeaseUse::Taken,
                Some(_) | None => LeaseUse::None,
            };
            let looking = redis_lookup::look_up(shared, lease_use, session, exchange);
            let found = Box::pin(looking).await;
            Ok(match found? {
                RedisLookedUp::Hit(stored, age_s) => {
                    if let Some(mut lead) = lead {
                        lead.stored();
                    }
                    Coalesced::Hit(stored, age_s)
                }
                RedisLookedUp::Miss(lease) => {
                    Coalesced::Forward(decision, WaitingRequests { lead, lease })
                }
            })
        }
    }
}

/// Looks for an equal request in flight in this process.
async fn join_here(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    (mut decision, mut mark, delivery): (CacheDecision, Option<FlightMark>, Option<&Delivery>),
) -> Result<Coalesced, Stop> {
    let flights = pipeline.cache.as_ref().and_then(|cache| cache.flights());
    let (Some(flights), CacheDecision::Lookup(key)) = (flights, decision) else {
        return Ok(Coalesced::Forward(decision, WaitingRequests::default()));
    };
    if !may_share(session, delivery) {
        return Ok(Coalesced::Forward(decision, WaitingRequests::default()));
    }
    loop {
        let Some(looked_up_at) = mark.take() else {
            match look_up(pipeline, exchange, decision) {
                LookedUp::Hit(stored, age_s) => return Ok(Coalesced::Hit(stored, age_s)),
                LookedUp::Miss(missed, at) => (decision, mark) = (missed, at),
            }
            continue;
        };
        let lead = match flights.join(key, looked_up_at, MayLead::Yes) {
            Joined::Leader(lead) => lead,
            Joined::LookAgain => continue,
            Joined::Alone => return Ok(Coalesced::Forward(decision, WaitingRequests::default())),
            Joined::Follower(follower) => {
                match Box::pin(start(pipeline, session, exchange, follower)).await? {
                    FollowerStart::Head(head, follower) => {
                        note_collapsed(exchange);
                        let followed = Followed::new(head, follower);
                        return Ok(Coalesced::Followed(Box::new(followed)));
                    }
                    FollowerStart::Leader(lead) => lead,
                    FollowerStart::Stored => continue,
                    FollowerStart::Alone => {
                        return Ok(Coalesced::Forward(decision, WaitingRequests::default()));
                    }
                    FollowerStart::Failed(failure) => {
                        note_collapsed(exchange);
                        return Err(failure.into());
                    }
                }
            }
        };
        session.continue_for(lead.continuation(), connection);
        let (lead, lease) = (Some(lead), None);
        return Ok(Coalesced::Forward(
            decision,
            WaitingRequests { lead, lease },
        ));
    }
}

/// Waits for the response to an equal request. This is time of the backend.
pub(super) async fn start<H: Clone>(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    follower: Follower<H>,
) -> Result<FollowerStart<H>, Stop> {
    let now = clock::now();
    exchange.timing.enter(Stage::Backend, now);
    let until = now + pipeline.backend.config().total_timeout;
    let start = tokio::select! {
        biased;
        start = follower.start() => start,
        () = session.client_left() => return Err(Stop::ClientLeft),
        () = tokio::time::sleep_until(until.into()) => {
            let detail = "the response to an equal request did not begin in time";
            return Err(Refusal::new(ErrorCode::UpstreamTimeout, detail).into());
        }
    };
    exchange.timing.enter(Stage::Cache, clock::now());
    Ok(start)
}

pub(super) fn note_collapsed(exchange: &mut Exchange) {
    exchange.cache = Some(CacheNote {
        outcome: CacheOutcome::Collapsed,
        tier: CacheTier::None,
        age_s: 0,
        key: exchange.cache.and_then(|cache| cache.key),
        bypass: None,
    });
    routing::set_cache_status(exchange, CacheStatus::Collapsed);
}

/// The request of a leader has failed before the head of a response.
pub(super) fn fail<H>(lead: Option<Lead<H>>, stop: &Stop) {
    if let (Some(mut lead), Stop::Refused(refusal)) = (lead, stop) {
        lead.fail(refusal.clone());
    }
}
