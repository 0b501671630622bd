//! What was measured: from the time when each request was due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::pacer::Counts;
use crate::request::Judged;

mod histogram;

pub use histogram::Times;

/// Of the times of one second of a test: they are only drawn.
const SECOND_DIGITS: u8 = 2;
/// Parts that a test is drawn in.
const SLOTS_MAX: u32 = 600;
/// As many at least, where they would not be too short to hold any request.
const PARTS_MIN: u32 = 40;
const SHORT_PARTS: [u64; 3] = [100, 200, 500];

/// Whom a request went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    Target,
    /// The backend, past the sidecar.
    Direct,
}

/// One finished request.
#[derive(Clone, Debug)]
pub struct Measured {
    pub name: Arc<str>,
    pub towards: Towards,
    /// Since the start of the test.
    pub due: Duration,
    /// All from the time when it was due.
    pub sent: Duration,
    /// The first and the last piece of a stream.
    pub first: Option<Duration>,
    pub last: Option<Duration>,
    pub done: Duration,
    /// Pieces of a stream.
    pub pieces: u64,
    pub judged: Judged,
    /// `None`: no answer came.
    pub status: Option<u16>,
    /// The sidecar says that it knew the answer.
    pub cache: Cache,
    /// Why it is an error, in few words of a closed set.
    pub error: Option<String>,
}

/// What an answer says of the sidecar's cache (RFC 9211).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    Hit,
    #[default]
    NoHit,
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
    pub cache_hits: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub errors: BTreeMap<String, u64>,
}

impl Named {
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    fn record(&mut self, measured: &Measured) {
        self.requests += 1;
        self.cache_hits += u64::from(measured.cache == Cache::Hit);
        if let Some(status) = measured.status {
            *self.statuses.entry(status).or_default() += 1;
        }
        self.latency.record(measured.done);
        self.late.record(measured.sent);
        self.service
            .record(measured.done.saturating_sub(measured.sent));
        if let (Some(first), Some(last)) = (measured.first, measured.last) {
            self.first.record(first);
            if let Some(gaps) = measured.pieces.checked_sub(1).filter(|gaps| *gaps > 0) {
                let gaps = u32::try_from(gaps).unwrap_or(u32::MAX);
                self.piece.record(last.saturating_sub(first) / gaps);
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
        self.cache_hits += other.cache_hits;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
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
    /// To the first piece, where there were streams.
    pub first: Option<Times>,
}

impl Default for Part {
    fn default() -> Self {
        Part {
            due: 0,
            done: 0,
            errors: 0,
            latency: Times::new(SECOND_DIGITS),
            first: None,
        }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// When the last request was done, since the start.
    pub ended: Duration,
    pub by_name: BTreeMap<Arc<str>, Named>,
    /// What went past the sidecar; in nothing else.
    pub direct: Named,
    pub parts: BTreeMap<u64, Part>,
    /// What was sent before the test began; in no figure but the sidecar's own.
    pub warm_up: Named,
}

impl Tally {
    fn record(&mut self, measured: &Measured, part: Duration) {
        self.ended = self.ended.max(measured.due + measured.done);
        if measured.towards == Towards::Direct {
            self.direct.record(measured);
            return;
        }
        let place = |at: Duration| (at.as_micros() / part.as_micros().max(1)) as u64;
        let begun = self.parts.entry(place(measured.due)).or_default();
        begun.due += 1;
        begun.latency.record(measured.done);
        if let Some(first) = measured.first {
            let times = begun.first.get_or_insert_with(|| Times::new(SECOND_DIGITS));
            times.record(first);
        }
        if measured.judged == Judged::Error {
            begun.errors += 1;
        }
        let ended = place(measured.due + measured.done);
        self.parts.entry(ended).or_default().done += 1;
        self.by_name
            .entry(measured.name.clone())
            .or_default()
            .record(measured);
    }

    /// All names together: everything that was asked of the target.
    #[must_use]
    pub fn all(&self) -> Named {
        let mut all = Named::default();
        self.by_name.values().for_each(|named| all.add(named));
        all
    }
}

/// Where senders put what they measured. All of them are on one thread, so nobody waits for the lock
/// but whoever looks while the test runs, and that one reads [`Live`] alone.
#[derive(Debug)]
pub struct Tallies {
    tally: Mutex<Tally>,
    live: Mutex<Live>,
    part: Duration,
}

/// What came since somebody last looked.
#[derive(Clone, Debug)]
pub struct Live {
    pub requests: u64,
    pub errors: u64,
    pub latency: Times,
}

impl Default for Live {
    fn default() -> Self {
        Live {
            requests: 0,
            errors: 0,
            latency: Times::new(SECOND_DIGITS),
        }
    }
}

/// A second, in a short test less, so that there is something to be seen, and in a long one more.
fn part(duration: Duration) -> Duration {
    let short = SHORT_PARTS.into_iter().map(Duration::from_millis);
    let mut short = short.filter(|part| duration / PARTS_MIN <= *part);
    let part = short.next().unwrap_or(Duration::from_secs(1));
    part.max(duration / SLOTS_MAX)
}

impl Tallies {
    /// For a test that long.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Tallies {
            tally: Mutex::default(),
            live: Mutex::default(),
            part: part(duration),
        }
    }

    /// How long each part of the test is.
    #[must_use]
    pub fn part(&self) -> Duration {
        self.part
    }

    pub fn record(&self, measured: &Measured, counts: Counts) {
        match counts {
            Counts::InTheTest => self.tally.lock().record(measured, self.part),
            Counts::WarmUp if measured.towards == Towards::Direct => {}
            Counts::WarmUp => self.tally.lock().warm_up.record(measured),
        }
        let mut live = self.live.lock();
        live.requests += 1;
        live.errors += u64::from(measured.judged == Judged::Error);
        live.latency.record(measured.done);
    }

    /// What came since the last look.
    #[must_use]
    pub fn look(&self) -> Live {
        std::mem::take(&mut *self.live.lock())
    }

    /// What there is now.
    #[must_use]
    pub fn sum(&self) -> Tally {
        self.tally.lock().clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn measured(name: &str, done_ms: u64, judged: Judged) -> Measured {
        Measured {
            name: name.into(),
            towards: Towards::Target,
            due: Duration::from_millis(done_ms),
            sent: Duration::from_millis(1),
            first: Some(Duration::from_millis(done_ms / 2)),
            last: Some(Duration::from_millis(done_ms)),
            done: Duration::from_millis(done_ms),
            pieces: 11,
            judged,
            status: Some(200),
            cache: Cache::NoHit,
            error: (judged == Judged::Error).then(|| "status 500".to_owned()),
        }
    }

    #[test]
    fn names_add_up_and_quantiles_are_less_than_a_percent_off() {
        let tallies = Tallies::new(Duration::from_secs(10));
        for ms in 1..=10_000 {
            let judged = match ms % 100 {
                0 => Judged::Error,
                1 => Judged::Limited,
                2 => Judged::Refused,
                _ => Judged::Success,
            };
            let name = if ms % 2 == 0 { "a" } else { "b" };
            tallies.record(&measured(name, ms, judged), Counts::InTheTest);
        }
        let sum = tallies.sum();
        let all = sum.all();
        assert_eq!(all.requests, 10_000);
        assert_eq!(
            (all.error_count(), all.limited, all.refused),
            (100, 100, 100)
        );
        assert_eq!(sum.by_name["a"].requests, 5000);
        for (q, truth) in [(0.5, 5000.0), (0.99, 9900.0), (0.999, 9990.0)] {
            let found = all.latency.quantile_ms(q);
            assert!((found - truth).abs() / truth < 0.01, "{q}: {found}");
        }
        assert_eq!(all.piece.count(), 10_000);
        // Eleven pieces between half of the time and all of it.
        let gap = all.piece.quantile_ms(1.0);
        assert!((gap - 500.0).abs() < 1.0, "{gap}");
        let due: u64 = sum.parts.values().map(|part| part.due).sum();
        let done: u64 = sum.parts.values().map(|part| part.done).sum();
        assert_eq!((due, done), (10_000, 10_000));
        let curve = all.latency.curve();
        assert!(curve.is_sorted(), "{curve:?}");
        assert!(
            curve
                .iter()
                .any(|(share, ms)| *share > 0.999 && *ms > 9990.0)
        );
        assert_eq!(tallies.look().errors, 100);
        assert_eq!(tallies.look().requests, 0, "it was looked at");
    }

    #[test]
    fn a_test_is_drawn_in_as_many_parts_as_can_be_seen() {
        let day = Duration::from_secs(86_400);
        assert_eq!(Tallies::new(day).part(), day / 600);
        let part_ms = |seconds| {
            let tallies = Tallies::new(Duration::from_secs(seconds));
            tallies.part().as_millis()
        };
        assert_eq!([1, 8, 20, 30, 60].map(part_ms), [100, 200, 500, 1000, 1000]);
    }
}
