//! Replay protection: ids (nonces) and signatures of requests that were found valid, in this process.
//!
//! Bounded by time and by number. Keys are truncated SHA-256 hashes, so that collisions are infeasible, and are
//! spread over shards, so that workers seldom contend for a lock. Only verified requests are stored, so that others
//! cannot fill it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hashbrown::HashTable;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// With more entries for each scheme that shares a store, the oldest are dropped and counted.
const ENTRIES_MAX: usize = 200_000;

const SHARDS: usize = 16;

/// How many expired entries one call removes: more than it adds, so that the store shrinks, and few, so that no request
/// is delayed after a long idle period.
const CLEARED_AT_ONCE: usize = 4;

/// Identifies a request. The same in every replica, since it depends only on the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ReplayKey([u8; 16]);

/// The namespace of the ids of a client. The same in every replica.
pub(crate) type Namespace = [u8; 16];

impl ReplayKey {
    pub(super) const BYTES: usize = 16;

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        ReplayKey(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Hashes all `parts`, each with its length, so that different lists have different keys.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        ReplayKey(key)
    }
}

/// What [`SeenRequests::check_and_insert`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    First,
    Before,
}

/// The keys of all schemes that are joined by shared secrets.
pub(super) struct SeenRequests {
    /// The longest window of those that share it.
    window_s: AtomicU64,
    shard_entries_max: AtomicUsize,
    shards: [Mutex<ReplayShard>; SHARDS],
    /// Its seed is random, so that clients cannot choose colliding keys.
    hasher: RandomState,
    dropped: AtomicU64,
}

/// The table is small compared with the keys, which are in order of arrival: lookups touch mostly the table, which
/// stays in the processor's cache.
#[derive(Default)]
struct ReplayShard {
    /// For each key its number in `order`, counted from the first ever.
    table: HashTable<u32>,
    /// When each was seen, in Unix seconds. A key that was seen again is in it twice.
    order: VecDeque<(u64, ReplayKey)>,
    /// The number of the front of `order`. It wraps around; only differences are used.
    first: u32,
    /// The latest time so far: a clock that is set back does not extend any window.
    now_s: u64,
}

impl std::fmt::Debug for SeenRequests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SeenRequests")
            .finish_non_exhaustive()
    }
}

/// Rounded up to whole seconds.
pub(super) fn whole_seconds(window: Duration) -> u64 {
    window.as_secs() + u64::from(window.subsec_nanos() > 0)
}

impl SeenRequests {
    /// For `schemes` that remember for up to `window`.
    pub(super) fn new(window: Duration, schemes: usize) -> Self {
        SeenRequests::with_entries_max(window, ENTRIES_MAX.saturating_mul(schemes.max(1)))
    }

    pub(super) fn with_entries_max(window: Duration, entries_max: usize) -> Self {
        SeenRequests {
            window_s: AtomicU64::new(whole_seconds(window)),
            shard_entries_max: AtomicUsize::new((entries_max / SHARDS).max(1)),
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Checks and inserts in one step: of equal keys at the same time one is the first.
    pub(super) fn check_and_insert(&self, key: ReplayKey, now: Duration, window_s: u64) -> Seen {
        let hash = self.hasher.hash_one(key);
        let shard = &mut *self.shard(&key).lock();
        if shard.contains(hash, &key, now, window_s) {
            return Seen::Before;
        }
        let now_s = shard.now_s;
        self.insert_into(shard, hash, key, now_s);
        Seen::First
    }

    pub(super) fn contains(&self, key: &ReplayKey, now: Duration, window_s: u64) -> bool {
        let hash = self.hasher.hash_one(key);
        self.shard(key).lock().contains(hash, key, now, window_s)
    }

    pub(super) fn insert(&self, key: ReplayKey, now: Duration) {
        let hash = self.hasher.hash_one(key);
        let shard = &mut *self.shard(&key).lock();
        shard.now_s = shard.now_s.max(now.as_secs());
        let now_s = shard.now_s;
        self.insert_into(shard, hash, key, now_s);
    }

    /// Raises the bounds to those of a store with this window and number of schemes; neither is lowered.
    pub(super) fn widen(&self, window: Duration, schemes: usize) {
        let entries_max = ENTRIES_MAX.saturating_mul(schemes.max(1));
        self.window_s
            .fetch_max(whole_seconds(window), Ordering::Relaxed);
        self.shard_entries_max
            .fetch_max((entries_max / SHARDS).max(1), Ordering::Relaxed);
    }

    /// Inserts what `other` has seen, with the times at which it was seen.
    pub(super) fn absorb(&self, other: &SeenRequests) {
        self.insert_seen(&other.seen_since(0));
    }

    /// What was seen since this time, in Unix seconds: when, and the key.
    pub(super) fn seen_since(&self, since_s: u64) -> Vec<(u64, ReplayKey)> {
        let mut seen = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            // Mostly in order of time.
            let newest = shard.order.iter().rev();
            seen.extend(newest.take_while(|(seen_s, _)| *seen_s >= since_s));
        }
        seen
    }

    /// Inserts what another process has seen.
    pub(super) fn insert_seen(&self, seen: &[(u64, ReplayKey)]) {
        // From the oldest.
        for (seen_s, key) in seen.iter().rev() {
            let hash = self.hasher.hash_one(key);
            let shard = &mut *self.shard(key).lock();
            shard.now_s = shard.now_s.max(*seen_s);
            if shard
                .seen_s(hash, key)
                .is_none_or(|known_s| known_s < *seen_s)
            {
                self.insert_into(shard, hash, *key, *seen_s);
            }
        }
    }

    /// The window in seconds, and the most entries of a shard.
    pub(super) fn bounds(&self) -> (u64, usize) {
        let entries_max = self.shard_entries_max.load(Ordering::Relaxed);
        (self.window_s.load(Ordering::Relaxed), entries_max * SHARDS)
    }

    fn insert_into(&self, shard: &mut ReplayShard, hash: u64, key: ReplayKey, seen_s: u64) {
        let window_s = self.window_s.load(Ordering::Relaxed);
        for _ in 0..CLEARED_AT_ONCE {
            match shard.order.front() {
                Some((seen_s, _)) if shard.now_s - seen_s > window_s => {
                    shard.drop_oldest(&self.hasher);
                }
                _ => break,
            }
        }
        if shard.order.len() >= self.shard_entries_max.load(Ordering::Relaxed) {
            shard.drop_oldest(&self.hasher);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        shard.insert(hash, key, seen_s, &self.hasher);
    }

    /// How many were dropped before they expired.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &ReplayKey) -> &Mutex<ReplayShard> {
        &self.shards[usize::from(key.0[0]) % SHARDS]
    }
}

impl ReplayShard {
    /// Whether the key was seen within the window before `now`.
    fn contains(&mut self, hash: u64, key: &ReplayKey, now: Duration, window_s: u64) -> bool {
        self.now_s = self.now_s.max(now.as_secs());
        let seen_s = self.seen_s(hash, key);
        seen_s.is_some_and(|seen_s| self.now_s - seen_s <= window_s)
    }

    fn seen_s(&self, hash: u64, key: &ReplayKey) -> Option<u64> {
        let is_it = |number: &u32| at(&self.order, self.first, *number) == *key;
        let number = self.table.find(hash, is_it)?;
        let place = number.wrapping_sub(self.first) as usize;
        self.order.get(place).map(|(seen_s, _)| *seen_s)
    }

    fn insert(&mut self, hash: u64, key: ReplayKey, seen_s: u64, hasher: &RandomState) {
        let number = self.first.wrapping_add(self.order.len() as u32);
        self.order.push_back((seen_s, key));
        let (order, first) = (&self.order, self.first);
        let is_it = |number: &u32| at(order, first, *number) == key;
        // An expired one that is still stored gets a new place.
        if let Some(known) = self.table.find_mut(hash, is_it) {
            *known = number;
            return;
        }
        let rehash = |number: &u32| hasher.hash_one(at(order, first, *number));
        self.table.insert_unique(hash, number, rehash);
    }

    fn drop_oldest(&mut self, hasher: &RandomState) {
        let Some((_, key)) = self.order.pop_front() else {
            return;
        };
        let oldest = self.first;
        self.first = oldest.wrapping_add(1);
        // A key that was seen again has a newer place in the table.
        let known = self
            .table
            .find_entry(hasher.hash_one(key), |number| *number == oldest);
        if let Ok(known) = known {
            known.remove();
        }
    }
}

/// The key with this number in `order`.
fn at(order: &VecDeque<(u64, ReplayKey)>, first: u32, number: u32) -> ReplayKey {
    let place = number.wrapping_sub(first) as usize;
    order.get(place).map_or(ReplayKey([0; 16]), |(_, key)| *key)
}

#[cfg(test)]
mod tests;
