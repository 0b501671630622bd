//! Histograms fine enough for quantiles: each bucket ends 2 % above the one before it, so an estimate is off by
//! less than 2 %. The edges of the duration histograms of `/metrics` are edges here as well, so that a quantile is
//! beyond one of them in both or in neither.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::catalog::DURATION_EDGES_S;

/// Shorter durations are not distinguished.
const SHORTEST_S: f64 = 10e-6;
/// Longer durations count as this long.
const LONGEST_S: f64 = 7200.0;
const GROWTH: f64 = 1.02;

/// The inclusive upper ends of the buckets, in seconds. One more bucket follows for longer durations.
static ENDS_S: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let steps = std::iter::successors(Some(SHORTEST_S), |end| Some(end * GROWTH));
    let mut ends: Vec<f64> = steps.take_while(|end| *end < LONGEST_S).collect();
    ends.extend(DURATION_EDGES_S);
    ends.push(LONGEST_S);
    ends.sort_by(f64::total_cmp);
    ends
});

/// Bits of a number below its sign, exponent and first four binary places.
const FINE_BITS: u32 = 48;

/// For each sixteenth of an octave, from that of the shortest on, the first bucket that overlaps it: the bucket
/// of a duration is a few steps from there.
static FIRST: LazyLock<Vec<u16>> = LazyLock::new(|| {
    let places = place(SHORTEST_S)..=place(LONGEST_S);
    let first = places.map(|place| {
        let start = f64::from_bits(place << FINE_BITS);
        ENDS_S.partition_point(|end| *end < start) as u16
    });
    first.collect()
});

const fn place(seconds: f64) -> u64 {
    seconds.to_bits() >> FINE_BITS
}

/// The bucket that a duration belongs to.
fn bucket(seconds: f64) -> usize {
    if seconds <= SHORTEST_S {
        return 0;
    }
    let place = place(seconds).saturating_sub(place(SHORTEST_S));
    let first = usize::try_from(place)
        .ok()
        .and_then(|place| FIRST.get(place));
    let Some(first) = first else {
        return ENDS_S.len();
    };
    let first = usize::from(*first);
    let further = ENDS_S.iter().skip(first).take_while(|end| **end < seconds);
    first + further.count()
}

/// A histogram that requests add to without a lock, and that is taken at each evaluation.
#[derive(Debug)]
pub struct AtomicHistogram {
    counts: Vec<AtomicU64>,
}

/// A bucket and its count.
pub type BucketCount = (u16, u64);

impl AtomicHistogram {
    #[must_use]
    pub fn new() -> Self {
        let counts = (0..=ENDS_S.len()).map(|_| AtomicU64::new(0));
        AtomicHistogram {
            counts: counts.collect(),
        }
    }

    /// Counts one duration: an addition, and no lock.
    pub fn observe(&self, duration: Duration) {
        if let Some(count) = self.counts.get(bucket(duration.as_secs_f64())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what was counted since the last time, by bucket.
    #[must_use]
    pub fn take(&self) -> Vec<BucketCount> {
        let buckets = self.counts.iter().zip(0..);
        let taken = buckets.filter(|(count, _)| count.load(Ordering::Relaxed) > 0);
        taken
            .map(|(count, bucket)| (bucket, count.swap(0, Ordering::Relaxed)))
            .collect()
    }
}

impl Default for AtomicHistogram {
    fn default() -> Self {
        AtomicHistogram::new()
    }
}

/// The sum of counts that were taken.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: vec![0; ENDS_S.len() + 1],
            total: 0,
        }
    }
}

impl Histogram {
    /// How many buckets there are.
    #[must_use]
    pub fn buckets() -> usize {
        ENDS_S.len() + 1
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn add(&mut self, taken: &[BucketCount]) {
        for (bucket, met) in taken {
            if let Some(count) = self.counts.get_mut(usize::from(*bucket)) {
                *count += met;
                self.total += met;
            }
        }
    }

    /// Subtracts counts that were added before.
    pub fn subtract(&mut self, taken: &[BucketCount]) {
        for (bucket, met) in taken {
            if let Some(count) = self.counts.get_mut(usize::from(*bucket)) {
                *count -= (*count).min(*met);
                self.total -= self.total.min(*met);
            }
        }
    }

    /// The quantile `q` in seconds, interpolated within its bucket as by Prometheus' `histogram_quantile`; `None`
    /// of an empty histogram.
    #[must_use]
    pub fn quantile_s(&self, q: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = q * self.total as f64;
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            let reached = below + count;
            if *count > 0 && reached as f64 >= rank {
                let Some(end) = ENDS_S.get(bucket) else {
                    break;
                };
                let start = bucket.checked_sub(1).and_then(|before| ENDS_S.get(before));
                let start = start.copied().unwrap_or(0.0);
                let part = (rank - below as f64) / *count as f64;
                return Some(start + (end - start) * part);
            }
            below = reached;
        }
        ENDS_S.last().copied()
    }
}

/// Merges two lists of buckets, each sorted.
#[must_use]
pub fn merged(one: &[BucketCount], other: &[BucketCount]) -> Vec<BucketCount> {
    let mut all: Vec<BucketCount> = one.iter().chain(other).copied().collect();
    all.sort_unstable_by_key(|(bucket, _)| *bucket);
    all.dedup_by(|later, first| {
        let is_same = later.0 == first.0;
        if is_same {
            first.1 += later.1;
        }
        is_same
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    fn histogram(durations: &[f64]) -> Histogram {
        let counting = AtomicHistogram::new();
        for seconds in durations {
            counting.observe(Duration::from_secs_f64(*seconds));
        }
        let mut histogram = Histogram::default();
        histogram.add(&counting.take());
        histogram
    }

    #[test]
    fn quantiles_are_off_by_less_than_two_percent() {
        for round in 0..200_u32 {
            let count = 1 + (random::bits() % 3000) as usize;
            let spread = f64::from(round % 12) + 1.0;
            let mut durations: Vec<f64> = (0..count)
                .map(|_| {
                    let share = (random::bits() % 1_000_000) as f64 / 1e6;
                    (20e-6 * (share * spread).exp()).min(3600.0)
                })
                .collect();
            let histogram = histogram(&durations);
            durations.sort_by(f64::total_cmp);
            for q in [0.5, 0.95, 0.99] {
                let rank = (q * count as f64).ceil() as usize;
                let truth = durations[rank.max(1) - 1];
                let estimate = histogram.quantile_s(q).expect("a quantile");
                let off = (estimate - truth).abs() / truth;
                assert!(off < 0.02, "{q} of {count}: {estimate} for {truth}");
            }
        }
    }

    #[test]
    fn a_quantile_at_an_edge_of_the_metrics_is_not_beyond_it() {
        for edge in DURATION_EDGES_S {
            let at = histogram(&[edge; 100]);
            assert!(at.quantile_s(0.99).expect("a quantile") <= edge);
            let mut durations = vec![edge; 98];
            durations.extend([edge + 1e-6; 2]);
            let beyond = histogram(&durations);
            assert!(beyond.quantile_s(0.99).expect("a quantile") > edge);
            durations[98] = edge;
            let at = histogram(&durations);
            assert!(at.quantile_s(0.99).expect("a quantile") <= edge);
        }
    }

    #[test]
    fn added_counts_are_subtracted_again() {
        let counting = AtomicHistogram::new();
        counting.observe(Duration::from_millis(1));
        let first = counting.take();
        counting.observe(Duration::from_millis(1));
        counting.observe(Duration::from_secs(100_000));
        counting.observe(Duration::ZERO);
        let second = counting.take();
        assert_eq!(counting.take(), []);
        let mut histogram = Histogram::default();
        histogram.add(&first);
        histogram.add(&second);
        assert_eq!(histogram.total(), 4);
        assert_eq!(histogram.quantile_s(1.0), Some(LONGEST_S));
        assert_eq!(
            merged(&first, &second).iter().map(|met| met.1).sum::<u64>(),
            4
        );
        histogram.subtract(&second);
        assert_eq!(histogram.total(), 1);
        histogram.subtract(&first);
        assert_eq!(histogram.quantile_s(0.5), None);
    }

    #[test]
    fn the_lookup_table_leads_to_the_same_bucket_as_a_search() {
        let near = |seconds: f64| [seconds.next_down(), seconds, seconds.next_up()];
        let ends = ENDS_S.iter().copied().flat_map(near);
        let places =
            (place(SHORTEST_S)..place(LONGEST_S)).map(|at| f64::from_bits(at << FINE_BITS));
        let others = [0.0, 1e-9, 1e-7, 7201.0, 1e6, 1e18];
        for seconds in ends.chain(places.flat_map(near)).chain(others) {
            let expected = ENDS_S.partition_point(|end| *end < seconds);
            assert_eq!(bucket(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn buckets_are_bounded_and_sorted() {
        assert!(ENDS_S.len() < 1200, "{}", ENDS_S.len());
        assert!(ENDS_S.is_sorted());
        assert!(ENDS_S.windows(2).all(|pair| pair[1] <= pair[0] * 1.0201));
    }
}
