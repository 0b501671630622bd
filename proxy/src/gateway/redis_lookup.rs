//! The cache stage of the gateway: the look-up in Redis after a miss in memory.

use std::sync::Arc;

use super::Stop;
use super::routing::set_cache_status;
use crate::cache::redis_tier::{Lease, LeaseUse, RedisLookup, RedisTier};
use crate::cache::status::CacheStatus;
use crate::cache::{CacheDecision, CacheKey, CachedResponse, ResponseCache, Scope};
use crate::exchange::{CacheNote, CacheOutcome, CacheTier, Exchange};
use crate::generation::pipeline::RoutePipeline;
use crate::http::session::Session;
use crate::route::address::is_globally_unique;

/// Where a key is looked up.
pub(super) struct SharedKey<'a> {
    cache: &'a ResponseCache,
    tier: &'a RedisTier,
    key: CacheKey,
}

/// The result of the look-up.
pub(super) enum RedisLookedUp {
    /// A stored response, and its age in seconds.
    Hit(Arc<CachedResponse>, u64),
    /// Other replicas wait for the response if there is a lease.
    Miss(Option<Lease>),
}

/// Where replicas share the response to a request, if they do. Unless it is globally unique, an address identifies no
/// client beyond this host: another replica would serve the response to a client of its own.
#[inline]
pub(super) fn tier<'p>(pipeline: &'p RoutePipeline, exchange: &Exchange) -> Option<&'p RedisTier> {
    let (tier, cache) = (pipeline.redis_tier.as_ref()?, pipeline.cache.as_ref()?);
    let is_shared = match cache.scope() {
        Scope::Route => true,
        Scope::Client => exchange.client_name.is_some() || is_globally_unique(exchange.client_ip),
    };
    is_shared.then_some(tier)
}

/// What is looked up in Redis, if anything is.
#[inline]
pub(super) fn shared<'p>(
    pipeline: &'p RoutePipeline,
    exchange: &Exchange,
    decision: CacheDecision,
) -> Option<SharedKey<'p>> {
    let tier = tier(pipeline, exchange)?;
    let (Some(cache), CacheDecision::Lookup(key)) = (&pipeline.cache, decision) else {
        return None;
    };
    Some(SharedKey { cache, tier, key })
}

/// Looks up a stored response, and records a hit. It is stored in memory as well.
pub(super) async fn look_up(
    shared: SharedKey<'_>,
    lease_use: LeaseUse,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<RedisLookedUp, Stop> {
    let found = tokio::select! {
        biased;
        found = shared.tier.look_up(&shared.key, lease_use) => found,
        () = session.client_left() => return Err(Stop::ClientLeft),
    };
    let response = match found {
        RedisLookup::Hit(response) => response,
        RedisLookup::Miss(lease) => return Ok(RedisLookedUp::Miss(lease)),
        RedisLookup::Degraded => return Ok(RedisLookedUp::Miss(None)),
    };
    let age_s = response.age_s(exchange.received_at);
    exchange.cache = Some(CacheNote {
        outcome: CacheOutcome::Hit,
        tier: CacheTier::Redis,
        age_s,
        key: Some(shared.key),
        bypass: None,
    });
    set_cache_status(exchange, CacheStatus::HitRedis);
    let asked_at = exchange.timing.started();
    shared.cache.store(shared.key, response.clone(), asked_at);
    Ok(RedisLookedUp::Hit(Arc::new(response), age_s))
}
