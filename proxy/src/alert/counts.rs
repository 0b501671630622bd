//! What was counted between two evaluations, and how such counts add up.

use super::histogram::{Met, merged};

/// What was counted between two evaluations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    pub durations: Vec<Met>,
    pub first_tokens: Vec<Met>,
    pub counts: Counts,
}

/// Sums over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub duration_sum_us: u64,
    /// As `error_rate` counts them.
    pub failed: u64,
    pub rate_limited: u64,
    /// Refused for a signature that is missing, wrong, expired or seen before.
    pub unsigned: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Events that were lost: of the process, not of a subject.
    pub events_dropped: u64,
}

impl Delta {
    /// Adds what was counted later.
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
            (&mut self.unsigned, other.unsigned),
            (&mut self.cache_hits, other.cache_hits),
            (&mut self.cache_misses, other.cache_misses),
            (&mut self.events_dropped, other.events_dropped),
        ] {
            *sum = change(*sum, more);
        }
    }
}
