//! What was seen before: ids and signatures of requests that were found valid.
//!
//! Bounded by time and by number. Keys are cut from SHA-256, so that nobody can make two requests
//! collide, and are spread over shards, so that workers seldom meet at a lock. It is never told of
//! a request that has not been verified, or anybody could fill it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashTable;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::delivery::{Claim, Delivery, Repeat, Watched};

/// Past this many for each scheme that shares a memory the oldest are dropped and counted.
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

/// What one scheme of one route remembers, in the memory that it shares with all that take one of its
/// secrets.
pub(super) struct Store {
    /// How long it remembers; others may do so for longer.
    window_s: u64,
    shared: Arc<Shared>,
}

/// The keys of all schemes that are joined by shared secrets.
pub(super) struct Shared {
    /// The longest window of those that share it.
    window_s: u64,
    shard_entries_max: usize,
    shards: [Mutex<Shard>; SHARDS],
    /// Deliveries in hand. They are remembered once they are taken. Whoever holds both locks takes this one
    /// first.
    in_hand: Mutex<HashMap<Key, Watched>>,
    /// Its seed is nobody's to know: else keys could be chosen that all lie in one place.
    hasher: RandomState,
    dropped: AtomicU64,
}

/// Small beside its keys, which lie in the order they came: what is looked at is mostly the table,
/// and it stays in the processor's cache.
#[derive(Default)]
struct Shard {
    /// Where each key that is known stands in `order`: its number, counted from the first ever.
    table: HashTable<u32>,
    /// When each was seen, in unix seconds. May hold keys that were seen again since.
    order: VecDeque<(u64, Key)>,
    /// The number of the front of `order`. It wraps around; differences are what counts.
    first: u32,
    /// The latest time there was: a clock that is set back makes nothing older.
    now_s: u64,
}

impl Store {
    /// Remembers for `window` what `shared` is told; `None` when the window is zero.
    pub(super) fn sharing(shared: &Arc<Shared>, window: Duration) -> Option<Self> {
        (!window.is_zero()).then(|| Store {
            window_s: whole_seconds(window),
            shared: shared.clone(),
        })
    }

    /// Looks and remembers in one step: of equal keys at the same time one is the first.
    pub(super) fn witness(&self, key: Key, now: Duration) -> Sighting {
        self.shared.witness(key, now, self.window_s)
    }

    /// The same for a delivery of a platform, which has to be answered within `answer_within` also while it
    /// is in hand.
    pub(super) fn claim(&self, key: Key, now: Duration, answer_within: Duration) -> Claim {
        self.shared.claim(key, now, self.window_s, answer_within)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Store {
    /// One with a memory of its own.
    pub(super) fn new(window: Duration) -> Option<Self> {
        Store::sharing(&Arc::new(Shared::new(window, 1)), window)
    }

    pub(super) fn with_entries_max(window: Duration, entries_max: usize) -> Option<Self> {
        let shared = Shared::with_entries_max(window, entries_max);
        Store::sharing(&Arc::new(shared), window)
    }
}

impl Deref for Store {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

fn whole_seconds(window: Duration) -> u64 {
    window.as_secs() + u64::from(window.subsec_nanos() > 0)
}

impl Shared {
    /// For `schemes` that remember for up to `window`.
    pub(super) fn new(window: Duration, schemes: usize) -> Self {
        Shared::with_entries_max(window, ENTRIES_MAX.saturating_mul(schemes.max(1)))
    }

    fn with_entries_max(window: Duration, entries_max: usize) -> Self {
        Shared {
            window_s: whole_seconds(window),
            shard_entries_max: (entries_max / SHARDS).max(1),
            shards: std::array::from_fn(|_| Mutex::default()),
            in_hand: Mutex::default(),
            hasher: RandomState::new(),
            dropped: AtomicU64::new(0),
        }
    }

    fn witness(&self, key: Key, now: Duration, window_s: u64) -> Sighting {
        let hash = self.hasher.hash_one(key);
        let shard = &mut *self.shard(&key).lock();
        if shard.knows(hash, &key, now, window_s) {
            return Sighting::Again;
        }
        self.remember(shard, hash, key);
        Sighting::First
    }

    pub(super) fn claim(
        self: &Arc<Self>,
        key: Key,
        now: Duration,
        window_s: u64,
        answer_within: Duration,
    ) -> Claim {
        let hash = self.hasher.hash_one(key);
        let mut in_hand = self.in_hand.lock();
        if let Some(fate) = in_hand.get(&key) {
            let repeat = Repeat::of(self, key, window_s, answer_within, fate.clone());
            return Claim::Open(repeat);
        }
        if self.shard(&key).lock().knows(hash, &key, now, window_s) {
            return Claim::Taken;
        }
        let (delivery, fate) = Delivery::open(self, key);
        in_hand.insert(key, fate);
        Claim::First(delivery)
    }

    /// A delivery was taken, at `now`: from here on it is remembered.
    pub(super) fn taken(&self, key: Key, now: Duration) {
        let hash = self.hasher.hash_one(key);
        let mut in_hand = self.in_hand.lock();
        in_hand.remove(&key);
        let shard = &mut *self.shard(&key).lock();
        shard.now_s = shard.now_s.max(now.as_secs());
        self.remember(shard, hash, key);
    }

    /// A delivery came to nothing.
    pub(super) fn failed(&self, key: &Key) {
        self.in_hand.lock().remove(key);
    }

    fn remember(&self, shard: &mut Shard, hash: u64, key: Key) {
        for _ in 0..CLEARED_AT_ONCE {
            match shard.order.front() {
                Some((seen_s, _)) if shard.now_s - seen_s > self.window_s => {
                    shard.drop_oldest(&self.hasher);
                }
                _ => break,
            }
        }
        if shard.order.len() >= self.shard_entries_max {
            shard.drop_oldest(&self.hasher);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        shard.remember(hash, key, &self.hasher);
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
    /// Whether the key was seen within the window before `now`.
    fn knows(&mut self, hash: u64, key: &Key, now: Duration, window_s: u64) -> bool {
        self.now_s = self.now_s.max(now.as_secs());
        let seen_s = self.seen_s(hash, key);
        seen_s.is_some_and(|seen_s| self.now_s - seen_s <= window_s)
    }

    fn seen_s(&self, hash: u64, key: &Key) -> Option<u64> {
        let is_it = |number: &u32| at(&self.order, self.first, *number) == *key;
        let number = self.table.find(hash, is_it)?;
        let place = number.wrapping_sub(self.first) as usize;
        self.order.get(place).map(|(seen_s, _)| *seen_s)
    }

    fn remember(&mut self, hash: u64, key: Key, hasher: &RandomState) {
        let number = self.first.wrapping_add(self.order.len() as u32);
        self.order.push_back((self.now_s, key));
        let (order, first) = (&self.order, self.first);
        let is_it = |number: &u32| at(order, first, *number) == key;
        // One that is past its time, and not cleared away yet, gets its new place.
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
        // One that was seen again has a younger place in the table.
        let known = self
            .table
            .find_entry(hasher.hash_one(key), |number| *number == oldest);
        if let Ok(known) = known {
            known.remove();
        }
    }
}

/// The key with this number; numbers in the table stand in `order`.
fn at(order: &VecDeque<(u64, Key)>, first: u32, number: u32) -> Key {
    let place = number.wrapping_sub(first) as usize;
    order.get(place).map_or(Key([0; 16]), |(_, key)| *key)
}

#[cfg(test)]
mod tests;
