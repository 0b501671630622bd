//! The part of the cache stage for Redis: a look-up after a miss in memory.

use std::net::IpAddr;
use std::sync::Arc;

use super::Stop;
use super::routing::set_cache_status;
use crate::cache::redis_tier::{Lease, LeaseUse, RedisLookup, RedisTier};
use crate::cache::status::CacheStatus;
use crate::cache::{CacheDecision, CacheKey, CachedResponse, ResponseCache};
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

/// A client without a verified name, as part of the key of a response that replicas share. Unless its address is globally
/// unique, it is another client on another host.
pub(super) fn client(address: IpAddr, host: &str) -> String {
    match is_globally_unique(address) {
        true => address.to_string(),
        false => format!("{address}@{host}"),
    }
}

/// What is looked up in Redis, if anything is.
#[inline]
pub(super) fn shared<'p>(
    pipeline: &'p RoutePipeline,
    decision: CacheDecision,
) -> Option<SharedKey<'p>> {
    let (tier, cache) = (pipeline.redis_tier.as_ref()?, pipeline.cache.as_ref()?);
    let CacheDecision::Lookup(key) = decision else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_reused_is_another_client_on_another_host() {
        let of = |address: &str, identity| client(address.parse().expect("valid"), identity);
        for reused in ["127.0.0.1", "172.17.0.1", "10.1.2.3", "::1", "fd00::1"] {
            assert_ne!(of(reused, "a/1"), of(reused, "b/1"), "{reused}");
            assert_ne!(of(reused, "a/1"), of(reused, "a/2"), "{reused}");
            assert_eq!(of(reused, "a/1"), of(reused, "a/1"), "{reused}");
        }
        for unique in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(of(unique, "a/1"), of(unique, "b/2"), "{unique}");
        }
    }
}
