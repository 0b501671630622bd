//! Responses in memory, bounded by their bytes; the least recently used are evicted first.

use std::borrow::Borrow;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use super::purge::PurgeTarget;
use super::{CacheKey, CachedResponse};
use crate::exchange::CacheKeyId;

/// How many expired responses are removed at once, so that no request waits for long.
const REMOVE_MAX: usize = 10_000;

/// A key is a hash already: the table uses a part of it.
#[derive(Default)]
struct KeyHasher(u64);

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

// A response is found by the prefix of its key, too: it has the same hash.
impl Borrow<CacheKeyId> for CacheKey {
    fn borrow(&self) -> &CacheKeyId {
        self.id()
    }
}

/// What a cache holds, and what it has removed since it was last counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryCounts {
    pub bytes: u64,
    pub entries: u64,
    pub removed: RemovedCounts,
}

/// Responses that were removed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedCounts {
    /// Evicted for a newer response, because the memory was full.
    pub full: u64,
    pub expired: u64,
    pub purged: u64,
}

/// The responses, the most recently used first.
pub(super) struct MemoryTier {
    /// Locked while a key is found or moved, never while a response is copied or freed.
    entries: Mutex<LruEntries>,
    bytes_max: u64,
    ttl: Duration,
}

struct LruEntries {
    by_use: ByUse,
    bytes: u64,
    /// When responses were last purged, and how often.
    purged_at: Option<Instant>,
    purges: u64,
    removed: RemovedCounts,
}

type ByUse = LruCache<CacheKey, Arc<CachedResponse>, BuildHasherDefault<KeyHasher>>;

impl MemoryTier {
    pub(super) fn new(bytes_max: u64, ttl: Duration) -> Self {
        MemoryTier {
            entries: Mutex::new(LruEntries {
                by_use: ByUse::unbounded_with_hasher(BuildHasherDefault::default()),
                bytes: 0,
                purged_at: None,
                purges: 0,
                removed: RemovedCounts::default(),
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

    /// Stores a response that is no larger than the memory, unless it was purged after its request had arrived.
    pub(super) fn insert(&self, key: CacheKey, stored: CachedResponse, asked_at: Instant) {
        let stored = Arc::new(stored);
        let mut entries = self.entries.lock();
        // Under the lock of the purge: a response cannot slip in between.
        if entries
            .purged_at
            .is_some_and(|purged_at| asked_at <= purged_at)
        {
            return;
        }
        let replaced = entries.insert(key, stored);
        drop(entries);
        drop(replaced);
        while let Some(evicted) = self.evict() {
            drop(evicted);
        }
    }

    pub(super) fn remove(&self, key: &CacheKey) {
        let removed = self.entries.lock().take(key);
        drop(removed);
    }

    fn is_fresh(&self, stored: &CachedResponse, now: Duration) -> bool {
        stored.stored_for(now) < self.ttl.min(stored.lifetime)
    }

    fn evict(&self) -> Option<Arc<CachedResponse>> {
        let mut entries = self.entries.lock();
        let evicted = (entries.bytes > self.bytes_max).then(|| entries.take_last())?;
        entries.removed.full += u64::from(evicted.is_some());
        evicted
    }

    /// Removes what `target` names; returns the number of responses.
    pub(super) fn purge(&self, target: &PurgeTarget, now: Instant) -> u64 {
        let mut entries = self.entries.lock();
        entries.purged_at = entries.purged_at.max(Some(now));
        entries.purges += 1;
        let (all, one) = match target {
            PurgeTarget::All => (Some(entries.take_all()), None),
            PurgeTarget::Key(prefix) => (None, entries.take(prefix)),
            PurgeTarget::Path(_) => (None, None),
        };
        let count = all.as_ref().map_or(0, |all| all.len() as u64) + u64::from(one.is_some());
        entries.removed.purged += count;
        drop(entries);
        drop((all, one));
        count
    }

    pub(super) fn purges(&self) -> u64 {
        self.entries.lock().purges
    }

    /// What the memory holds now, and has removed since the last call.
    pub(super) fn counts(&self) -> MemoryCounts {
        let mut entries = self.entries.lock();
        MemoryCounts {
            bytes: entries.bytes,
            entries: entries.by_use.len() as u64,
            removed: std::mem::take(&mut entries.removed),
        }
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
            entries.removed.expired += 1;
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

    fn take<Q>(&mut self, key: &Q) -> Option<Arc<CachedResponse>>
    where
        Q: Eq + Hash + ?Sized,
        CacheKey: Borrow<Q>,
    {
        let stored = self.by_use.pop(key)?;
        self.bytes -= stored.bytes();
        Some(stored)
    }

    fn take_last(&mut self) -> Option<Arc<CachedResponse>> {
        let (_, stored) = self.by_use.pop_lru()?;
        self.bytes -= stored.bytes();
        Some(stored)
    }

    fn take_all(&mut self) -> ByUse {
        self.bytes = 0;
        let none = ByUse::unbounded_with_hasher(BuildHasherDefault::default());
        std::mem::replace(&mut self.by_use, none)
    }
}
