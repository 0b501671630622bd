//! Purges stored responses for the admin API, in every tier.
//!
//! Memory is purged first, and once more behind Redis, because a lookup may have filled it from there meanwhile, and a
//! reload may have replaced it.

use super::installer::Installer;
use crate::admin::purge::{CachePurges, PurgeReceipt};
use crate::cache::purge::{PurgeError, PurgeRequest};

impl CachePurges for Installer {
    fn purge(&self, request: PurgeRequest) -> PurgeReceipt {
        let gateway = self.gateway.clone();
        Box::pin(async move {
            let generation = gateway.generation();
            let (route, key) = (request.route.as_deref(), request.key.as_deref());
            route.map_or(Ok(()), |route| generation.check_cached(route))?;
            let in_memory = generation.purge_memory(route, key);
            let Some(redis) = generation.redis() else {
                return Ok(in_memory);
            };
            let in_redis = redis.purge(&request).await;
            let refilled = gateway.generation().purge_memory(route, key);
            let in_redis = in_redis.map_err(|error| PurgeError::Incomplete {
                reason: format!("Redis failed: {}", redis.redis().explained(&error)),
            })?;
            Ok(in_memory + in_redis + refilled)
        })
    }
}
