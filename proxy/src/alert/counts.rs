//! Counts between two evaluations, and how they add up.

use serde::{Deserialize, Serialize};

use super::histogram::{BucketCount, merged};

/// What was counted between two evaluations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    pub durations: Vec<BucketCount>,
    pub first_tokens: Vec<BucketCount>,
    pub counts: Counts,
}

/// Sums over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub duration_sum_us: u64,
    /// As `error_rate` counts them.
    pub failed: u64,
    pub rate_limited: u64,
    /// Rejected because the signature is missing, invalid, expired or replayed.
    pub signature_failures: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Lost events: of the process, not of a subject.
    pub events_dropped: u64,
}

impl Delta {
    /// Adds later counts.
    pub fn add(&mut self, other: &Delta) {
        self.durations = merged(&self.durations, &other.durations);
        self.first_tokens = merged(&self.first_tokens, &other.first_tokens);
        self.counts.each(&other.counts, |sum, more| sum + more);
    }
}

impl Counts {
    /// Changes each sum by the other's.
    pub fn each(&mut self, other: &Counts, change: impl Fn(u64, u64) -> u64) {
        for (sum, more) in [
            (&mut self.duration_sum_us, other.duration_sum_us),
            (&mut self.failed, other.failed),
            (&mut self.rate_limited, other.rate_limited),
            (&mut self.signature_failures, other.signature_failures),
            (&mut self.cache_hits, other.cache_hits),
            (&mut self.cache_misses, other.cache_misses),
            (&mut self.events_dropped, other.events_dropped),
        ] {
            *sum = change(*sum, more);
        }
    }
}
