//! The cache stage of the gateway: the look-up in Redis after a miss in memory.

use std::sync::Arc;

use super::coalesce::Coalesced;
use super::{Stop, routing};
use crate::cache::redis_tier::{Lease, LeaseUse, RedisLookup, RedisTier};
use crate::cache::status::CacheStatus;
use crate::cache::{CacheDecision, CacheKey, ResponseCache};
use crate::exchange::{CacheNote, CacheOutcome, CacheTier, Exchange};
use crate::generation::pipeline::RoutePipeline;
use crate::http::session::Session;

/// Where a key is looked up.
struct SharedKey<'a> {
    cache: &'a ResponseCache,
    tier: &'a RedisTier,
    key: CacheKey,
}

/// Whether anything is looked up in Redis: the key of a request that would be forwarded.
#[inline]
pub(super) fn applies(pipeline: &RoutePipeline, found: &Coalesced) -> bool {
    pipeline.redis_tier.is_some()
        && matches!(found, Coalesced::Forward(CacheDecision::Lookup(_), _))
}

fn shared<'a>(pipeline: &'a RoutePipeline, found: &Coalesced) -> Option<SharedKey<'a>> {
    let (tier, cache) = (pipeline.redis_tier.as_ref()?, pipeline.cache.as_ref()?);
    let Coalesced::Forward(CacheDecision::Lookup(key), _) = found else {
        return None;
    };
    Some(SharedKey {
        cache,
        tier,
        key: *key,
    })
}

/// Looks up a stored response, and records a hit. It is stored in memory as well. After a miss, other replicas may wait
/// for the response if there is a lease.
///
/// Only the leader of equal requests takes the lease, or waits for another replica: its followers wait with it.
pub(super) async fn look_up(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    mut found: Coalesced,
) -> Result<(Coalesced, Option<Lease>), Stop> {
    let Some(shared) = shared(pipeline, &found) else {
        return Ok((found, None));
    };
    let lease_use = match &found {
        Coalesced::Forward(_, Some(_)) => LeaseUse::Taken,
        _ => LeaseUse::None,
    };
    let looked_up = tokio::select! {
        biased;
        looked_up = shared.tier.look_up(&shared.key, lease_use) => looked_up,
        () = session.client_left() => return Err(Stop::ClientLeft),
    };
    let response = match looked_up {
        RedisLookup::Hit(response) => response,
        RedisLookup::Miss(lease) => return Ok((found, lease)),
        RedisLookup::Degraded => return Ok((found, None)),
    };
    let age_s = response.age_s(exchange.received_at);
    exchange.cache = Some(CacheNote {
        outcome: CacheOutcome::Hit,
        tier: CacheTier::Redis,
        age_s,
    });
    routing::set_header(exchange, "cache-status", CacheStatus::HitRedis.header());
    shared.cache.store(shared.key, response.clone());
    if let Coalesced::Forward(_, Some(lead)) = &mut found {
        lead.stored();
    }
    Ok((Coalesced::Hit(Arc::new(response), age_s), None))
}
