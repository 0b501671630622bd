//! Reproducible pseudorandom numbers: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
//! Generators, 2014). Not for secrets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Random {
    state: AtomicU64,
}

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Random {
            state: AtomicU64::new(seed),
        }
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut value = self
            .state
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// From 0 (inclusive) to 1 (exclusive).
    pub(super) fn ratio(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// `middle`, plus or minus up to `jitter`, never below zero.
    pub(super) fn around(&self, middle: Duration, jitter: Duration) -> Duration {
        if jitter.is_zero() {
            return middle;
        }
        (middle + jitter.mul_f64(2.0 * self.ratio())).saturating_sub(jitter)
    }
}
