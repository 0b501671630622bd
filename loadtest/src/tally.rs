//! What was measured: from the time when each request was due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::wanted::Judged;

/// Times are counted in microseconds, from one to an hour, with an error below 0.1 %.
const LONGEST_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;
/// Of the times of one second of a test: they are only drawn.
const SECOND_DIGITS: u8 = 2;
/// Parts that a test is drawn in.
const SLOTS_MAX: u32 = 600;
const SHARDS: usize = 8;

/// One finished request.
#[derive(Clone, Debug)]
pub struct Measured {
    pub name: Arc<str>,
    /// Since the start of the test.
    pub due: Duration,
    /// All from the time when it was due.
    pub sent: Duration,
    pub first: Option<Duration>,
    pub done: Duration,
    /// Pieces of a stream.
    pub pieces: u64,
    pub judged: Judged,
    /// Why it is an error, in few words of a closed set.
    pub error: Option<String>,
}

/// Times of one kind.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Times {
    #[expect(clippy::expect_used, reason = "the bounds are constants that fit")]
    fn new(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, digits);
        Times(histogram.expect("bounds of a histogram"))
    }

    pub fn record(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(us.max(1));
    }

    /// Adds all of the other's.
    pub fn add(&mut self, other: &Times) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// In milliseconds; 0 of nothing.
    #[must_use]
    pub fn quantile_ms(&self, q: f64) -> f64 {
        if self.0.is_empty() {
            return 0.0;
        }
        self.0.value_at_quantile(q) as f64 / 1000.0
    }

    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        self.0.mean() / 1000.0
    }

    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }
}

impl Default for Times {
    fn default() -> Self {
        Times::new(DIGITS)
    }
}

/// All requests of one name.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// From due to done.
    pub latency: Times,
    /// From due to the first byte of an answer that comes in pieces.
    pub first: Times,
    /// Between two pieces of a stream, in the mean of each stream.
    pub piece: Times,
    /// From sent to done: what a tester that waits for its answers would report.
    pub service: Times,
    /// From due to sent.
    pub late: Times,
    pub requests: u64,
    pub refused: u64,
    pub limited: u64,
    pub errors: BTreeMap<String, u64>,
}

impl Named {
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    fn record(&mut self, measured: &Measured) {
        self.requests += 1;
        self.latency.record(measured.done);
        self.late.record(measured.sent);
        self.service
            .record(measured.done.saturating_sub(measured.sent));
        if let Some(first) = measured.first {
            self.first.record(first);
            if let Some(gaps) = measured.pieces.checked_sub(1).filter(|gaps| *gaps > 0) {
                let gaps = u32::try_from(gaps).unwrap_or(u32::MAX);
                self.piece
                    .record(measured.done.saturating_sub(first) / gaps);
            }
        }
        match measured.judged {
            Judged::Success => {}
            Judged::Refused => self.refused += 1,
            Judged::Limited => self.limited += 1,
            Judged::Error => {
                let error = measured.error.clone().unwrap_or_else(|| "other".to_owned());
                *self.errors.entry(error).or_default() += 1;
            }
        }
    }

    /// Adds all of the other's.
    pub fn add(&mut self, other: &Named) {
        for (times, more) in [
            (&mut self.latency, &other.latency),
            (&mut self.first, &other.first),
            (&mut self.piece, &other.piece),
            (&mut self.service, &other.service),
            (&mut self.late, &other.late),
        ] {
            times.add(more);
        }
        self.requests += other.requests;
        self.refused += other.refused;
        self.limited += other.limited;
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
    }
}

/// A part of the test, by when its requests were due.
#[derive(Clone, Debug)]
pub struct Part {
    pub due: u64,
    pub done: u64,
    pub errors: u64,
    pub latency: Times,
}

impl Default for Part {
    fn default() -> Self {
        Part {
            due: 0,
            done: 0,
            errors: 0,
            latency: Times::new(SECOND_DIGITS),
        }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// When the last request was done, since the start.
    pub ended: Duration,
    pub by_name: BTreeMap<Arc<str>, Named>,
    pub parts: BTreeMap<u64, Part>,
}

impl Tally {
    fn record(&mut self, measured: &Measured, part: Duration) {
        let place = |at: Duration| (at.as_micros() / part.as_micros().max(1)) as u64;
        let begun = self.parts.entry(place(measured.due)).or_default();
        begun.due += 1;
        begun.latency.record(measured.done);
        if measured.judged == Judged::Error {
            begun.errors += 1;
        }
        self.ended = self.ended.max(measured.due + measured.done);
        let ended = place(measured.due + measured.done);
        self.parts.entry(ended).or_default().done += 1;
        self.by_name
            .entry(measured.name.clone())
            .or_default()
            .record(measured);
    }

    fn add(&mut self, other: &Tally) {
        self.ended = self.ended.max(other.ended);
        for (name, named) in &other.by_name {
            self.by_name.entry(name.clone()).or_default().add(named);
        }
        for (place, part) in &other.parts {
            let all = self.parts.entry(*place).or_default();
            all.due += part.due;
            all.done += part.done;
            all.errors += part.errors;
            all.latency.add(&part.latency);
        }
    }

    /// All names together, but these.
    #[must_use]
    pub fn all_but(&self, without: &str) -> Named {
        let mut all = Named::default();
        let wanted = self.by_name.iter().filter(|(name, _)| &***name != without);
        wanted.for_each(|(_, named)| all.add(named));
        all
    }
}

/// Where senders put what they measured; in shards, so that they do not wait for each other.
#[derive(Debug)]
pub struct Tallies {
    shards: Vec<Mutex<Tally>>,
    part: Duration,
}

impl Tallies {
    /// For a test that long.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        let part = Duration::from_secs(1).max(duration / SLOTS_MAX);
        Tallies {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            part,
        }
    }

    /// How long each part of the test is.
    #[must_use]
    pub fn part(&self) -> Duration {
        self.part
    }

    pub fn record(&self, sender: usize, measured: &Measured) {
        if let Some(shard) = self.shards.get(sender % SHARDS) {
            shard.lock().record(measured, self.part);
        }
    }

    /// What there is now.
    #[must_use]
    pub fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        self.shards.iter().for_each(|shard| sum.add(&shard.lock()));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, done_ms: u64, judged: Judged) -> Measured {
        Measured {
            name: name.into(),
            due: Duration::from_millis(done_ms),
            sent: Duration::from_millis(1),
            first: Some(Duration::from_millis(done_ms / 2)),
            done: Duration::from_millis(done_ms),
            pieces: 11,
            judged,
            error: (judged == Judged::Error).then(|| "status 500".to_owned()),
        }
    }

    #[test]
    fn shards_add_up_and_quantiles_are_less_than_a_percent_off() {
        let tallies = Tallies::new(Duration::from_secs(10));
        for ms in 1..=10_000 {
            let judged = match ms % 100 {
                0 => Judged::Error,
                1 => Judged::Limited,
                2 => Judged::Refused,
                _ => Judged::Success,
            };
            let name = if ms % 2 == 0 { "a" } else { "b" };
            tallies.record(ms as usize, &measured(name, ms, judged));
        }
        let sum = tallies.sum();
        let all = sum.all_but("");
        assert_eq!(all.requests, 10_000);
        assert_eq!(
            (all.error_count(), all.limited, all.refused),
            (100, 100, 100)
        );
        assert_eq!(sum.all_but("a").requests, 5000);
        for (q, truth) in [(0.5, 5000.0), (0.99, 9900.0), (0.999, 9990.0)] {
            let found = all.latency.quantile_ms(q);
            assert!((found - truth).abs() / truth < 0.01, "{q}: {found}");
        }
        assert_eq!(all.piece.count(), 10_000);
        let due: u64 = sum.parts.values().map(|part| part.due).sum();
        let done: u64 = sum.parts.values().map(|part| part.done).sum();
        assert_eq!((due, done), (10_000, 10_000));
    }

    #[test]
    fn a_long_test_is_drawn_in_few_parts() {
        let day = Duration::from_secs(86_400);
        assert_eq!(Tallies::new(day).part(), day / 600);
    }
}
