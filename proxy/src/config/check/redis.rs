//! `redis`: the Redis that replicas share.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Route;
use crate::config::raw::File;
use crate::redis::Config;
use crate::settings::diagnostic::Diagnostics;

/// A longer timeout is of no use: what Redis saves takes less time.
const TIMEOUT_USEFUL_MAX: Duration = Duration::from_secs(5);

/// `Some(None)` where there is none.
pub(super) fn check(
    file: &File,
    routes: Option<&[Arc<Route>]>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<Config>> {
    let Some(raw) = file.redis.value() else {
        // Nothing is written, or it is invalid, which has been reported.
        return Some(None);
    };
    if routes.is_some_and(|routes| routes.iter().all(|route| route.cache.is_none())) {
        let does = "has no effect: no route caches answers (`cache: {answers: true}`), and nothing else \
                    uses Redis";
        diagnostics.warn(&file.redis.path, file.redis.key_place, does);
    }
    if raw
        .timeout
        .get()
        .is_some_and(|timeout| timeout.0 > TIMEOUT_USEFUL_MAX)
    {
        let does = "is longer than 5s: when Redis hangs, requests wait that long until it is known to be down; \
                    the default is 100ms";
        let setting = &raw.timeout;
        diagnostics.warn(&setting.path, setting.key_place, does);
    }
    Some(Some(Config {
        url: raw.url.value()?.0.clone(),
        timeout: raw.timeout.get()?.0,
    }))
}
