//! Purges the caches of a generation.

use super::Generation;
use crate::cache::purge::{PurgeError, PurgeTarget};

impl Generation {
    /// Removes stored responses from memory: of one route or of all, the one with this key or all. Returns their
    /// number.
    #[expect(clippy::must_use_candidate, reason = "the number is for a report only")]
    pub fn purge_memory(&self, route: Option<&str>, key: Option<&str>) -> u64 {
        // A key of a later version, from another replica, could mean any response.
        let target = key.and_then(|key| key.parse().ok());
        let target = target.unwrap_or(PurgeTarget::All);
        let pipelines = self.pipelines.iter();
        let purged = pipelines.filter(|pipeline| {
            let name = &*pipeline.config.name;
            route.is_none_or(|route| route == name)
        });
        purged
            .filter_map(|pipeline| pipeline.purge_memory(&target))
            .sum()
    }

    /// Checks that the route has a cache.
    ///
    /// # Errors
    /// It has none, or there is no such route.
    pub fn check_cached(&self, route: &str) -> Result<(), PurgeError> {
        let pipelines = self.pipelines.iter();
        let cached = pipelines.filter(|pipeline| pipeline.has_cache());
        let known: Vec<_> = cached
            .map(|pipeline| pipeline.config.name.clone())
            .collect();
        match known.iter().any(|name| **name == *route) {
            true => Ok(()),
            false => Err(PurgeError::UnknownRoute {
                name: route.to_owned(),
                known,
            }),
        }
    }
}
