//! Purges stored responses for the admin API, in every tier.

use super::installer::Installer;
use crate::admin::purge::{CachePurges, PurgeReceipt};
use crate::cache::purge::PurgeRequest;

impl CachePurges for Installer {
    fn purge(&self, request: PurgeRequest) -> PurgeReceipt {
        let generation = self.gateway.generation();
        Box::pin(async move {
            let (route, key) = (request.route.as_deref(), request.key.as_deref());
            route.map_or(Ok(()), |route| generation.check_cached(route))?;
            Ok(generation.purge_memory(route, key))
        })
    }
}
