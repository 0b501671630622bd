//! What was seen before: ids and signatures of requests that were found valid.
//!
//! Bounded by time and by number. Keys are cut from SHA-256, so that nobody can make two requests
//! collide, and are spread over shards, so that workers seldom meet at a lock. It is never told of
//! a request that has not been verified, or anybody could fill it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Past this many the oldest are dropped and counted.
const ENTRIES_MAX: usize = 200_000;

const SHARDS: usize = 16;

/// How many entries past their time one call clears away: more than it adds, so that the store
/// shrinks, and few, so that no request pays for a quiet night.
const CLEARED_AT_ONCE: usize = 4;

/// What is remembered of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key([u8; 16]);

impl Key {
    /// Of all `parts`, each with its length, so that no two lists make the same text.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Key(key)
    }
}

/// Whether a key had been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    First,
    Again,
}

/// The keys of one scheme of one route.
pub(super) struct Store {
    window_s: u64,
    shard_entries_max: usize,
    shards: [Mutex<Shard>; SHARDS],
    dropped: AtomicU64,
}

#[derive(Default)]
struct Shard {
    /// When each was seen, in unix seconds.
    seen: HashMap<Key, u64>,
    /// In the order they came; may hold keys that were forgotten since.
    order: VecDeque<(u64, Key)>,
    /// The latest time there was: a clock that is set back makes nothing older.
    now_s: u64,
}

impl Store {
    /// Remembers for `window`; `None` when that is zero.
    pub(super) fn new(window: Duration) -> Option<Self> {
        Store::with_entries_max(window, ENTRIES_MAX)
    }

    fn with_entries_max(window: Duration, entries_max: usize) -> Option<Self> {
        if window.is_zero() {
            return None;
        }
        Some(Store {
            window_s: window.as_secs() + u64::from(window.subsec_nanos() > 0),
            shard_entries_max: (entries_max / SHARDS).max(1),
            shards: std::array::from_fn(|_| Mutex::default()),
            dropped: AtomicU64::new(0),
        })
    }

    /// Looks and remembers in one step: of equal keys at the same time one is the first.
    pub(super) fn witness(&self, key: Key, now: Duration) -> Sighting {
        let mut shard = self.shard(&key).lock();
        shard.now_s = shard.now_s.max(now.as_secs());
        let now_s = shard.now_s;
        if let Some(seen_s) = shard.seen.get(&key)
            && now_s - seen_s <= self.window_s
        {
            return Sighting::Again;
        }
        for _ in 0..CLEARED_AT_ONCE {
            match shard.order.front() {
                Some((seen_s, _)) if now_s - seen_s > self.window_s => shard.drop_oldest(),
                _ => break,
            }
        }
        if shard.order.len() >= self.shard_entries_max {
            shard.drop_oldest();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        shard.seen.insert(key, now_s);
        shard.order.push_back((now_s, key));
        Sighting::First
    }

    /// As if `key` had not been seen.
    pub(super) fn forget(&self, key: &Key) {
        self.shard(key).lock().seen.remove(key);
    }

    /// How many were dropped before their time.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        &self.shards[usize::from(key.0[0]) % SHARDS]
    }
}

impl Shard {
    fn drop_oldest(&mut self) {
        let Some((seen_s, key)) = self.order.pop_front() else {
            return;
        };
        // One that was forgotten and seen again has a younger place in the order.
        if self.seen.get(&key) == Some(&seen_s) {
            self.seen.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
