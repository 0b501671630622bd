//! Answers in memory: bounded by their bytes, least recently used first to go.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;

use super::{Key, Stored};

/// How many expired answers are let go at once, so that nobody waits for long.
const FORGET_MAX: usize = 10_000;

/// A key is a hash already: the table uses a part of it as it stands.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    // The length that an array's `Hash` tells beside its bytes is always the same.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The answers, the one that was used last at the front.
pub(super) struct Memory {
    /// Held while a key is found or moved, never while an answer is copied or freed.
    entries: Mutex<Entries>,
    bytes_max: u64,
    ttl: Duration,
}

struct Entries {
    by_use: LruCache<Key, Arc<Stored>, BuildHasherDefault<KeyHasher>>,
    bytes: u64,
}

impl Memory {
    pub(super) fn new(bytes_max: u64, ttl: Duration) -> Self {
        Memory {
            entries: Mutex::new(Entries {
                by_use: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
                bytes: 0,
            }),
            bytes_max,
            ttl,
        }
    }

    /// The answer under `key`, unless its time is over at `now`.
    pub(super) fn get(&self, key: &Key, now: Duration) -> Option<Arc<Stored>> {
        let found = self.entries.lock().by_use.get(key).cloned()?;
        self.is_fresh(&found, now).then_some(found)
    }

    /// Keeps an answer that is no larger than the memory.
    pub(super) fn insert(&self, key: Key, stored: Stored) {
        let stored = Arc::new(stored);
        let replaced = self.entries.lock().insert(key, stored);
        drop(replaced);
        while let Some(gone) = self.past_the_bound() {
            drop(gone);
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        let gone = self.entries.lock().take(key);
        drop(gone);
    }

    fn is_fresh(&self, stored: &Stored, now: Duration) -> bool {
        stored.kept_for(now) < self.ttl.min(stored.left)
    }

    fn past_the_bound(&self) -> Option<Arc<Stored>> {
        let mut entries = self.entries.lock();
        (entries.bytes > self.bytes_max).then(|| entries.take_last())?
    }

    /// Lets go what is expired at `now` and was not used since others that are not.
    pub(super) fn forget_expired(&self, now: Duration) {
        for _ in 0..FORGET_MAX {
            let mut entries = self.entries.lock();
            let last = entries.by_use.peek_lru();
            if last.is_none_or(|(_, stored)| self.is_fresh(stored, now)) {
                return;
            }
            let gone = entries.take_last();
            drop(entries);
            drop(gone);
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

impl Entries {
    fn insert(&mut self, key: Key, stored: Arc<Stored>) -> Option<Arc<Stored>> {
        self.bytes += stored.bytes();
        let replaced = self.by_use.put(key, stored);
        self.bytes -= replaced.as_ref().map_or(0, |replaced| replaced.bytes());
        replaced
    }

    fn take(&mut self, key: &Key) -> Option<Arc<Stored>> {
        let stored = self.by_use.pop(key)?;
        self.bytes -= stored.bytes();
        Some(stored)
    }

    fn take_last(&mut self) -> Option<Arc<Stored>> {
        let (_, stored) = self.by_use.pop_lru()?;
        self.bytes -= stored.bytes();
        Some(stored)
    }
}
