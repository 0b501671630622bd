//! Entries in memory, bounded by their bytes; the least recently used are evicted first (LRU).

use std::borrow::Borrow;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use lru::LruCache;
use parking_lot::Mutex;

use super::CacheKey;
use super::purge::{PathHash, PurgeTarget};
use crate::exchange::CacheKeyId;

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

// An entry is found by the id of its key, too: it has the same hash.
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

/// Entries that were removed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedCounts {
    /// Evicted for a newer entry, because the memory was full.
    pub full: u64,
    pub expired: u64,
    pub purged: u64,
}

/// Whether the memory has taken an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    Stored,
    /// It is too large, or entries were purged after its request had arrived.
    Refused,
}

/// What is stored under a key.
pub(super) trait Entry {
    /// The memory that it takes.
    fn bytes(&self) -> u64;

    /// Whether it was stored for this path.
    fn is_of_path(&self, _path: PathHash) -> bool {
        false
    }
}

/// The entries, the most recently used first.
pub(super) struct MemoryTier<E> {
    /// Locked while a key is found or moved, never while an entry is copied or freed.
    entries: Mutex<LruEntries<E>>,
    bytes_max: u64,
}

struct LruEntries<E> {
    by_use: ByUse<E>,
    bytes: u64,
    /// When responses were last purged, and how often.
    purged_at: Option<Instant>,
    purges: u64,
    removed: RemovedCounts,
}

type ByUse<E> = LruCache<CacheKey, Arc<E>, BuildHasherDefault<KeyHasher>>;

impl<E: Entry> MemoryTier<E> {
    pub(super) fn new(bytes_max: u64) -> Self {
        MemoryTier {
            entries: Mutex::new(LruEntries {
                by_use: ByUse::unbounded_with_hasher(BuildHasherDefault::default()),
                bytes: 0,
                purged_at: None,
                purges: 0,
                removed: RemovedCounts::default(),
            }),
            bytes_max,
        }
    }

    /// The entry under `key`.
    pub(super) fn get(&self, key: &CacheKey) -> Option<Arc<E>> {
        self.entries.lock().by_use.get(key).cloned()
    }

    /// Stores an entry that is no larger than the memory, unless it was purged after its request had arrived.
    pub(super) fn insert(&self, key: CacheKey, entry: E, asked_at: Instant) -> Insertion {
        let entry = Arc::new(entry);
        let mut entries = self.entries.lock();
        if entries.is_purged_since(asked_at) {
            return Insertion::Refused;
        }
        let replaced = entries.insert(key, entry);
        drop(entries);
        drop(replaced);
        self.evict();
        Insertion::Stored
    }

    /// Replaces the entry under `key`, if there is one, by what `change` makes of it; `None` removes it. `change` is
    /// called with the lock held, and not at all if entries were purged after the request had arrived.
    pub(super) fn update(
        &self,
        key: &CacheKey,
        asked_at: Instant,
        change: impl FnOnce(Option<&E>) -> Option<E>,
    ) {
        let mut entries = self.entries.lock();
        if entries.is_purged_since(asked_at) {
            return;
        }
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
        let evicted = (entries.bytes > self.bytes_max).then(|| entries.take_last())?;
        entries.removed.full += u64::from(evicted.is_some());
        evicted
    }

    /// Removes what `target` names; returns the number of responses.
    pub(super) fn purge(&self, target: &PurgeTarget, now: Instant) -> u64 {
        let mut entries = self.entries.lock();
        entries.purged_at = entries.purged_at.max(Some(now));
        entries.purges += 1;
        let (all, some) = match target {
            PurgeTarget::All => (Some(entries.take_all()), Vec::new()),
            PurgeTarget::Key(id) => (None, Vec::from_iter(entries.take(id))),
            PurgeTarget::Path(path) => (None, entries.take_path(*path)),
        };
        let count = (all.as_ref().map_or(0, LruCache::len) + some.len()) as u64;
        entries.removed.purged += count;
        drop(entries);
        drop((all, some));
        count
    }

    pub(super) fn purges(&self) -> u64 {
        self.entries.lock().purges
    }

    /// What the memory holds now, and has removed since the last call.
    pub(super) fn take_counts(&self) -> MemoryCounts {
        let mut entries = self.entries.lock();
        MemoryCounts {
            bytes: entries.bytes,
            entries: entries.by_use.len() as u64,
            removed: std::mem::take(&mut entries.removed),
        }
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
        let each = entries.by_use.iter().map(|(_, entry)| entry.bytes());
        (each.sum(), entries.by_use.len())
    }
}

impl<E: Entry> LruEntries<E> {
    /// Called with the lock of the purge held: no entry can slip in between.
    fn is_purged_since(&self, asked_at: Instant) -> bool {
        self.purged_at
            .is_some_and(|purged_at| asked_at <= purged_at)
    }

    fn insert(&mut self, key: CacheKey, entry: Arc<E>) -> Option<Arc<E>> {
        self.bytes += entry.bytes();
        let replaced = self.by_use.put(key, entry);
        self.bytes -= replaced.as_ref().map_or(0, |replaced| replaced.bytes());
        replaced
    }

    fn take<Q>(&mut self, key: &Q) -> Option<Arc<E>>
    where
        Q: Eq + Hash + ?Sized,
        CacheKey: Borrow<Q>,
    {
        let entry = self.by_use.pop(key)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    fn take_last(&mut self) -> Option<Arc<E>> {
        let (_, entry) = self.by_use.pop_lru()?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    fn take_path(&mut self, path: PathHash) -> Vec<Arc<E>> {
        let entries = self.by_use.iter();
        let of_path = entries.filter(|(_, entry)| entry.is_of_path(path));
        let keys: Vec<CacheKey> = of_path.map(|(key, _)| *key).collect();
        keys.iter().filter_map(|key| self.take(key)).collect()
    }

    fn take_all(&mut self) -> ByUse<E> {
        self.bytes = 0;
        let none = ByUse::<E>::unbounded_with_hasher(BuildHasherDefault::default());
        std::mem::replace(&mut self.by_use, none)
    }
}
