//! `redis`: the Redis that replicas share.

use crate::config::raw::File;
use crate::redis::Config;

/// `Some(None)` where there is none.
pub(super) fn check(file: &File) -> Option<Option<Config>> {
    let Some(raw) = file.redis.value() else {
        // Nothing is written, or it is invalid, which has been reported.
        return Some(None);
    };
    Some(Some(Config {
        url: raw.url.value()?.0.clone(),
        timeout: raw.timeout.get()?.0,
    }))
}
