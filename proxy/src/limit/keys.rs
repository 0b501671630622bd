//! The state of each key (GCRA), in bounded memory.
//!
//! governor decides; this store only keeps, for each key, the time at which its quota is restored (the theoretical
//! arrival time of GCRA). The stores of governor grow with every key between two cleanings, which a flood of forged
//! addresses turns into a leak. Here a full shard first forgets the keys whose quota is restored; when that frees
//! nothing, new keys share a fixed table of slots until it does. Known keys keep their own count during the flood.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use parking_lot::Mutex;

const SHARDS: usize = 64;
/// Shared slots of one shard: 65,536 in all.
const SLOTS: usize = 1024;

/// One check of a key. The store adds the time until the quota is restored, which governor does not expose.
#[derive(Clone, Debug)]
pub(super) struct KeyCheck {
    key: u64,
    reset: Cell<Duration>,
}

/// The states of one limit. A clone is another handle to the same states.
#[derive(Clone)]
pub(super) struct Keys {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Box<[Mutex<KeyShard>]>,
    shard_keys_max: usize,
    /// The time in which quota for one request is restored.
    interval_ns: u64,
}

#[derive(Default)]
struct KeyShard {
    /// For each key, when its quota is restored, in nanoseconds of the limiter's clock.
    restored_at_ns: HashMap<u64, u64, BuildHasherDefault<Unhashed>>,
    /// For keys in shared slots, when their quota is restored; allocated with the first of them.
    shared_ns: Option<Box<[u64]>>,
    /// Keys in shared slots since idle keys were last forgotten.
    overflowed: usize,
}

impl KeyCheck {
    /// `key` must come from a keyed hash: its bits choose shard, bucket and slot.
    pub(super) fn new(key: u64) -> Self {
        KeyCheck {
            key,
            reset: Cell::new(Duration::ZERO),
        }
    }

    /// After the check: the time until the quota is restored without further requests.
    pub(super) fn reset(&self) -> Duration {
        self.reset.get()
    }
}

impl PartialEq for KeyCheck {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for KeyCheck {}

impl Hash for KeyCheck {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl Keys {
    /// A store for a quota that is restored by one request every `interval`.
    pub(super) fn new(interval: Duration, keys_max: usize) -> Self {
        Keys {
            inner: Arc::new(Inner {
                shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
                shard_keys_max: (keys_max / SHARDS).max(1),
                interval_ns: nanoseconds(interval),
            }),
        }
    }

    /// Gives back the quota of a request that was just counted and then rejected.
    pub(super) fn give_back(&self, key: u64) {
        let mut shard = self.shard(key).lock();
        let shard = &mut *shard;
        let restored_at = match shard.restored_at_ns.get_mut(&key) {
            Some(restored_at) => Some(restored_at),
            None => shard.shared_ns.as_mut().map(|slots| &mut slots[slot(key)]),
        };
        if let Some(restored_at) = restored_at {
            *restored_at = restored_at.saturating_sub(self.inner.interval_ns);
        }
    }

    fn shard(&self, key: u64) -> &Mutex<KeyShard> {
        // The map inside takes its bucket from the low bits and its tag from the high ones.
        &self.inner.shards[(key >> 32) as usize % SHARDS]
    }
}

impl StateStore for Keys {
    type Key = KeyCheck;

    fn measure_and_replace<T, F, E>(&self, check: &KeyCheck, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // A new key is admitted, and restored one interval from now: governor passes the time to a store in no other
        // way.
        let (_, fresh) = decide(None)?;
        let now_ns = fresh.as_u64().saturating_sub(self.inner.interval_ns);
        let mut shard = self.shard(check.key).lock();
        let restored_at = shard.state(check.key, now_ns, self.inner.shard_keys_max);
        let decision = decide(Some(Nanos::new(*restored_at))).map(|(outcome, next)| {
            *restored_at = next.as_u64();
            outcome
        });
        check
            .reset
            .set(Duration::from_nanos(restored_at.saturating_sub(now_ns)));
        decision
    }
}

impl ShrinkableKeyedStateStore<KeyCheck> for Keys {
    /// `drop_below` is one interval ago; a state is as good as none when its quota is restored now.
    fn retain_recent(&self, drop_below: Nanos) {
        if drop_below.as_u64() == 0 {
            // The limiter is younger than one interval: nothing can be restored yet.
            return;
        }
        let now_ns = drop_below.as_u64().saturating_add(self.inner.interval_ns);
        for shard in &self.inner.shards {
            shard.lock().forget_idle(now_ns);
        }
    }

    fn shrink_to_fit(&self) {
        for shard in &self.inner.shards {
            let mut shard = shard.lock();
            // A steady crowd would otherwise be moved to a new table at every tick.
            if shard.restored_at_ns.capacity() > 2 * shard.restored_at_ns.len() {
                shard.restored_at_ns.shrink_to_fit();
            }
        }
    }

    fn len(&self) -> usize {
        let shards = self.inner.shards.iter();
        shards.map(|shard| shard.lock().restored_at_ns.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KeyShard {
    /// The state of `key`: its own, or past the bound the slot that it shares.
    fn state(&mut self, key: u64, now_ns: u64, keys_max: usize) -> &mut u64 {
        if self.restored_at_ns.len() >= keys_max && !self.restored_at_ns.contains_key(&key) {
            self.make_room(now_ns, keys_max);
        }
        let full = self.restored_at_ns.len() >= keys_max;
        match self.restored_at_ns.entry(key) {
            Entry::Occupied(state) => state.into_mut(),
            Entry::Vacant(_) if full => {
                let slots = self.shared_ns.get_or_insert_with(|| vec![0; SLOTS].into());
                &mut slots[slot(key)]
            }
            // Zero is long past, which is the same as a restored quota.
            Entry::Vacant(state) => state.insert(0),
        }
    }

    /// Looks at the whole shard at most once for an eighth of its keys, so that a flood of new keys
    /// pays a few nanoseconds each for it.
    fn make_room(&mut self, now_ns: u64, keys_max: usize) {
        let pause = (keys_max / 8).max(1);
        if self.overflowed.is_multiple_of(pause) {
            self.forget_idle(now_ns);
            if self.restored_at_ns.len() + pause <= keys_max {
                return;
            }
        }
        self.overflowed += 1;
    }

    fn forget_idle(&mut self, now_ns: u64) {
        self.overflowed = 0;
        self.restored_at_ns
            .retain(|_, restored_at| *restored_at > now_ns);
        if let Some(slots) = &self.shared_ns
            && slots.iter().all(|restored_at| *restored_at <= now_ns)
        {
            self.shared_ns = None;
        }
    }
}

fn slot(key: u64) -> usize {
    (key >> 40) as usize % SLOTS
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The keys are the output of a keyed hash already; hashing them again would buy nothing.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
