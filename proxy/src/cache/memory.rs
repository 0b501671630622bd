//! Entries in memory, bounded by their bytes; the least recently used are evicted first (LRU).

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use super::CacheKey;

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

/// What is stored under a key.
pub(super) trait Entry {
    /// The memory that it takes.
    fn bytes(&self) -> u64;
}

/// The entries, the most recently used first.
pub(super) struct MemoryTier<E> {
    /// Locked while a key is found or moved, never while an entry is copied or freed.
    entries: Mutex<LruEntries<E>>,
    bytes_max: u64,
}

struct LruEntries<E> {
    by_use: LruCache<CacheKey, Arc<E>, BuildHasherDefault<KeyHasher>>,
    bytes: u64,
}

impl<E: Entry> MemoryTier<E> {
    pub(super) fn new(bytes_max: u64) -> Self {
        MemoryTier {
            entries: Mutex::new(LruEntries {
                by_use: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
                bytes: 0,
            }),
            bytes_max,
        }
    }

    /// The entry under `key`.
    pub(super) fn get(&self, key: &CacheKey) -> Option<Arc<E>> {
        self.entries.lock().by_use.get(key).cloned()
    }

    /// Stores an entry that is no larger than the memory.
    pub(super) fn insert(&self, key: CacheKey, entry: E) {
        let entry = Arc::new(entry);
        let replaced = self.entries.lock().insert(key, entry);
        drop(replaced);
        self.evict();
    }

    /// Replaces the entry under `key`, if there is one, by what `change` makes of it; `None` removes it. `change` is
    /// called with the lock held.
    pub(super) fn update(&self, key: &CacheKey, change: impl FnOnce(Option<&E>) -> Option<E>) {
        let mut entries = self.entries.lock();
        let changed = change(entries.by_use.peek(key).map(|entry| &**entry));
        let replaced = match changed {
            Some(entry) => entries.insert(*key, Arc::new(entry)),
            None => entries.take(key),
        };
        drop(entries);
        drop(replaced);
        self.evict();
    }

    pub(super) fn remove(&self, key: &CacheKey) {
        let removed = self.entries.lock().take(key);
        drop(removed);
    }

    /// Evicts entries until the rest fits.
    fn evict(&self) {
        while let Some(evicted) = self.evict_one() {
            drop(evicted);
        }
    }

    fn evict_one(&self) -> Option<Arc<E>> {
        let mut entries = self.entries.lock();
        (entries.bytes > self.bytes_max).then(|| entries.take_last())?
    }

    /// Removes expired entries, the least recently used first, up to one that is not expired.
    pub(super) fn remove_expired(&self, is_expired: impl Fn(&E) -> bool) {
        for _ in 0..REMOVE_MAX {
            let mut entries = self.entries.lock();
            let last = entries.by_use.peek_lru();
            if last.is_none_or(|(_, entry)| !is_expired(entry)) {
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
        let each = entries.by_use.iter().map(|(_, entry)| entry.bytes());
        (each.sum(), entries.by_use.len())
    }
}

impl<E: Entry> LruEntries<E> {
    fn insert(&mut self, key: CacheKey, entry: Arc<E>) -> Option<Arc<E>> {
        self.bytes += entry.bytes();
        let replaced = self.by_use.put(key, entry);
        self.bytes -= replaced.as_ref().map_or(0, |replaced| replaced.bytes());
        replaced
    }

    fn take(&mut self, key: &CacheKey) -> Option<Arc<E>> {
        let entry = self.by_use.pop(key)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    fn take_last(&mut self) -> Option<Arc<E>> {
        let (_, entry) = self.by_use.pop_lru()?;
        self.bytes -= entry.bytes();
        Some(entry)
    }
}
