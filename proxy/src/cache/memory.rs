//! Responses in memory, bounded by their bytes; the least recently used are evicted first.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;

use super::{CacheKey, CachedResponse};

/// How many expired responses are removed at once, so that no request waits for long.
const REMOVE_MAX: usize = 10_000;

/// A key is a hash already: the table uses a part of it.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    // An array's `Hash` also writes its length, which is always the same.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The responses, the most recently used first.
pub(super) struct MemoryTier {
    /// Locked while a key is found or moved, never while a response is copied or freed.
    entries: Mutex<LruEntries>,
    bytes_max: u64,
    ttl: Duration,
}

struct LruEntries {
    by_use: LruCache<CacheKey, Arc<CachedResponse>, BuildHasherDefault<KeyHasher>>,
    bytes: u64,
}

impl MemoryTier {
    pub(super) fn new(bytes_max: u64, ttl: Duration) -> Self {
        MemoryTier {
            entries: Mutex::new(LruEntries {
                by_use: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
                bytes: 0,
            }),
            bytes_max,
            ttl,
        }
    }

    /// The response under `key`, if it is fresh at `now`.
    pub(super) fn get(&self, key: &CacheKey, now: Duration) -> Option<Arc<CachedResponse>> {
        let found = self.entries.lock().by_use.get(key).cloned()?;
        self.is_fresh(&found, now).then_some(found)
    }

    /// Stores a response that is no larger than the memory.
    pub(super) fn insert(&self, key: CacheKey, stored: CachedResponse) {
        let stored = Arc::new(stored);
        let replaced = self.entries.lock().insert(key, stored);
        drop(replaced);
        while let Some(evicted) = self.evict() {
            drop(evicted);
        }
    }

    pub(super) fn remove(&self, key: &CacheKey) {
        let removed = self.entries.lock().take(key);
        drop(removed);
    }

    /// Removes those whose keys `matches`; returns their number.
    pub(super) fn remove_where(&self, matches: impl Fn(&CacheKey) -> bool) -> u64 {
        let keys: Vec<CacheKey> = {
            let entries = self.entries.lock();
            let keys = entries.by_use.iter().map(|(key, _)| *key);
            keys.filter(|key| matches(key)).collect()
        };
        let mut removed = 0;
        // The lock is released in between, so that no request waits for long.
        for key in keys {
            let taken = self.entries.lock().take(&key);
            removed += u64::from(taken.is_some());
        }
        removed
    }

    fn is_fresh(&self, stored: &CachedResponse, now: Duration) -> bool {
        stored.is_fresh(now, self.ttl)
    }

    fn evict(&self) -> Option<Arc<CachedResponse>> {
        let mut entries = self.entries.lock();
        (entries.bytes > self.bytes_max).then(|| entries.take_last())?
    }

    /// Removes expired responses, the least recently used first, up to one that is fresh.
    pub(super) fn remove_expired(&self, now: Duration) {
        for _ in 0..REMOVE_MAX {
            let mut entries = self.entries.lock();
            let last = entries.by_use.peek_lru();
            if last.is_none_or(|(_, stored)| self.is_fresh(stored, now)) {
                return;
            }
            let removed = entries.take_last();
            drop(entries);
            drop(removed);
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.entries.lock().bytes
    }

    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> (u64, usize) {
        let entries = self.entries.lock();
        let each = entries.by_use.iter().map(|(_, stored)| stored.bytes());
        (each.sum(), entries.by_use.len())
    }
}

impl LruEntries {
    fn insert(
        &mut self,
        key: CacheKey,
        stored: Arc<CachedResponse>,
    ) -> Option<Arc<CachedResponse>> {
        self.bytes += stored.bytes();
        let replaced = self.by_use.put(key, stored);
        self.bytes -= replaced.as_ref().map_or(0, |replaced| replaced.bytes());
        replaced
    }

    fn take(&mut self, key: &CacheKey) -> Option<Arc<CachedResponse>> {
        let stored = self.by_use.pop(key)?;
        self.bytes -= stored.bytes();
        Some(stored)
    }

    fn take_last(&mut self) -> Option<Arc<CachedResponse>> {
        let (_, stored) = self.by_use.pop_lru()?;
        self.bytes -= stored.bytes();
        Some(stored)
    }
}
