//! The part of the cache that replicas share, for each route.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::backend::{self, Backend};
use crate::cache;
use crate::cache::redis_tier::{RedisTier, SharedTier};
use crate::config::Route;

/// The tier of a route in Redis, if it has a cache and there is a Redis.
pub(super) fn tier(
    route: &Route,
    backend: &Backend,
    shared: Option<&Arc<SharedTier>>,
) -> Option<RedisTier> {
    let (shared, cache) = (shared?, route.cache.as_ref()?);
    let settings = settings(route, cache, backend.config());
    Some(RedisTier::new(shared, &route.name, &settings, cache.ttl))
}

/// A digest of everything besides the request that a response depends on: replicas with other settings, during a
/// deployment for example, share nothing. Changes of this version's `Debug` texts only cause misses.
fn settings(route: &Route, cache: &cache::Config, backend: &backend::Config) -> String {
    // How much is stored, and for how long, changes no response.
    let cache = cache::Config {
        memory_bytes: 0,
        ttl: Duration::ZERO,
        ..cache.clone()
    };
    let mut text = String::new();
    // Writing to a string never fails.
    let _ = write!(
        text,
        "{cache:?} {:?} {:?} {:?} {:?} {:?}",
        route.matching, route.platform, backend.name, backend.path_prefix, backend.model_map
    );
    for endpoint in &backend.endpoints {
        let _ = write!(text, " {:?}", endpoint.text);
    }
    let mut hash = Sha256::new().chain_update(&text);
    for (name, value) in &backend.request_headers {
        // `Debug` would show nothing of a sensitive value.
        hash.update(name.as_str().as_bytes());
        hash.update((value.len() as u32).to_le_bytes());
        hash.update(value.as_bytes());
    }
    base16ct::lower::encode_string(&hash.finalize()[..8])
}
