//! Remembers requests whose responses could not be shared (hit-for-miss): those that come next are not held until the
//! head of an equal one's response has arrived, only to be sent one after the other.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;

use super::super::CacheKey;

/// How many are remembered.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("is not zero");
/// How long: a response that can be shared is noticed as soon as it is stored, anyway.
const REMEMBERED: Duration = Duration::from_secs(120);

/// The requests whose responses could not be shared.
pub(super) struct Predictor {
    /// With the time until which each is remembered, since the Unix epoch.
    unshared: Mutex<LruCache<CacheKey, Duration>>,
}

impl Predictor {
    pub(super) fn new() -> Self {
        Predictor {
            unshared: Mutex::new(LruCache::new(KEYS_MAX)),
        }
    }

    /// The response to a request with this key could not be shared.
    pub(super) fn remember(&self, key: CacheKey, now: Duration) {
        self.unshared.lock().put(key, now + REMEMBERED);
    }

    /// A response with this key can be shared.
    pub(super) fn forget(&self, key: &CacheKey) {
        let mut unshared = self.unshared.lock();
        if !unshared.is_empty() {
            unshared.pop(key);
        }
    }

    pub(super) fn expects_sharing(&self, key: &CacheKey, now: Duration) -> bool {
        let mut unshared = self.unshared.lock();
        unshared.get(key).is_none_or(|until| *until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_shared_is_remembered_for_a_while() {
        let predictor = Predictor::new();
        let (key, now) = (CacheKey([1; 32]), Duration::from_secs(1000));
        assert!(predictor.expects_sharing(&key, now));
        predictor.remember(key, now);
        assert!(!predictor.expects_sharing(&key, now + REMEMBERED / 2));
        assert!(predictor.expects_sharing(&key, now + REMEMBERED));
        predictor.forget(&key);
        assert!(predictor.expects_sharing(&key, now));
    }
}
