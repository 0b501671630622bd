//! Records every response. Latency counts from when a request was due and not from when it was sent, so that the time
//! spent waiting for a free sender is part of it (no coordinated omission).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::pacer::TestPhase;
use crate::request::Outcome;

mod histogram;

pub use histogram::LatencyHistogram;

/// Significant digits of the histograms of one interval, which are only drawn.
const INTERVAL_DIGITS: u8 = 2;
/// The most intervals of a timeline.
const INTERVALS_MAX: u32 = 600;
/// The fewest intervals, unless they would be too short to contain a request.
const INTERVALS_MIN: u32 = 40;
const SHORT_INTERVALS_MS: [u64; 3] = [100, 200, 500];

/// Where a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Target,
    /// The backend, without the sidecar.
    Direct,
}

/// One completed request.
#[derive(Clone, Debug)]
pub struct Sample {
    pub name: Arc<str>,
    pub destination: Destination,
    /// When it was due, since the start of the test.
    pub due: Duration,
    /// When it was sent, since it was due; as are all times below.
    pub sent: Duration,
    /// The first and the last event of a stream.
    pub first_event: Option<Duration>,
    pub last_event: Option<Duration>,
    pub done: Duration,
    /// How many events the stream had.
    pub stream_events: u64,
    pub outcome: Outcome,
    /// `None`: there was no response.
    pub status: Option<u16>,
    pub cache: CacheStatus,
    /// The kind of error, from a closed set.
    pub error: Option<String>,
}

/// Whether the response came from the sidecar's cache (`Cache-Status`, RFC 9211).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheStatus {
    Hit,
    #[default]
    NoHit,
}

/// Statistics of all requests with one name.
#[derive(Clone, Debug, Default)]
pub struct RequestStats {
    /// From due to the end of the response.
    pub latency: LatencyHistogram,
    /// From due to the first event of a stream.
    pub first_token: LatencyHistogram,
    /// Between two events of a stream, as the mean of each stream.
    pub token_time: LatencyHistogram,
    /// From sent to the end of the response: what a closed-model load generator would report.
    pub service_time: LatencyHistogram,
    /// From due to sent.
    pub send_delay: LatencyHistogram,
    pub requests: u64,
    pub rejected: u64,
    pub rate_limited: u64,
    pub cache_hits: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub errors: BTreeMap<String, u64>,
}

impl RequestStats {
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The share of requests that failed, from 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        self.error_count() as f64 / self.requests.max(1) as f64
    }

    fn record(&mut self, sample: &Sample) {
        self.requests += 1;
        self.cache_hits += u64::from(sample.cache == CacheStatus::Hit);
        if let Some(status) = sample.status {
            *self.statuses.entry(status).or_default() += 1;
        }
        self.latency.record(sample.done);
        self.send_delay.record(sample.sent);
        self.service_time
            .record(sample.done.saturating_sub(sample.sent));
        if let (Some(first), Some(last)) = (sample.first_event, sample.last_event) {
            self.first_token.record(first);
            if let Some(gaps) = sample.stream_events.checked_sub(1).filter(|gaps| *gaps > 0) {
                let gaps = u32::try_from(gaps).unwrap_or(u32::MAX);
                self.token_time.record(last.saturating_sub(first) / gaps);
            }
        }
        match sample.outcome {
            Outcome::Success => {}
            Outcome::Rejected => self.rejected += 1,
            Outcome::RateLimited => self.rate_limited += 1,
            Outcome::Error => {
                let error = sample.error.clone().unwrap_or_else(|| "other".to_owned());
                *self.errors.entry(error).or_default() += 1;
            }
        }
    }

    /// Merges the statistics of other requests.
    pub fn add(&mut self, other: &RequestStats) {
        for (times, more) in [
            (&mut self.latency, &other.latency),
            (&mut self.first_token, &other.first_token),
            (&mut self.token_time, &other.token_time),
            (&mut self.service_time, &other.service_time),
            (&mut self.send_delay, &other.send_delay),
        ] {
            times.add(more);
        }
        self.requests += other.requests;
        self.rejected += other.rejected;
        self.rate_limited += other.rate_limited;
        self.cache_hits += other.cache_hits;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (error, count) in &other.errors {
            *self.errors.entry(error.clone()).or_default() += count;
        }
    }
}

/// One interval of the test, by when its requests were due.
#[derive(Clone, Debug)]
pub struct IntervalStats {
    pub due: u64,
    pub done: u64,
    pub errors: u64,
    pub latency: LatencyHistogram,
    /// Time to the first token, where there were streams.
    pub first_token: Option<LatencyHistogram>,
}

impl Default for IntervalStats {
    fn default() -> Self {
        IntervalStats {
            due: 0,
            done: 0,
            errors: 0,
            latency: LatencyHistogram::new(INTERVAL_DIGITS),
            first_token: None,
        }
    }
}

/// All statistics of a run.
#[derive(Clone, Debug, Default)]
pub struct RunStats {
    /// When the last response ended, since the start of the test.
    pub end: Duration,
    pub by_name: BTreeMap<Arc<str>, RequestStats>,
    /// Requests sent directly to the backend; not included elsewhere.
    pub direct: RequestStats,
    pub intervals: BTreeMap<u64, IntervalStats>,
    /// Requests of the warm-up; only compared with the metrics of the sidecar.
    pub warm_up: RequestStats,
}

impl RunStats {
    fn record(&mut self, sample: &Sample, interval: Duration) {
        self.end = self.end.max(sample.due + sample.done);
        if sample.destination == Destination::Direct {
            self.direct.record(sample);
            return;
        }
        let place = |at: Duration| (at.as_micros() / interval.as_micros().max(1)) as u64;
        let due_in = self.intervals.entry(place(sample.due)).or_default();
        due_in.due += 1;
        due_in.latency.record(sample.done);
        if let Some(first) = sample.first_event {
            let times = due_in
                .first_token
                .get_or_insert_with(|| LatencyHistogram::new(INTERVAL_DIGITS));
            times.record(first);
        }
        if sample.outcome == Outcome::Error {
            due_in.errors += 1;
        }
        let end = place(sample.due + sample.done);
        self.intervals.entry(end).or_default().done += 1;
        self.by_name
            .entry(sample.name.clone())
            .or_default()
            .record(sample);
    }

    /// All requests to the target.
    #[must_use]
    pub fn all(&self) -> RequestStats {
        let mut all = RequestStats::default();
        self.by_name.values().for_each(|stats| all.add(stats));
        all
    }
}

/// Records the samples of all senders. They run on one thread, so only the progress output contends for a lock, and
/// it reads [`LiveStats`] alone.
#[derive(Debug)]
pub struct StatsRecorder {
    stats: Mutex<RunStats>,
    live: Mutex<LiveStats>,
    interval: Duration,
}

/// Statistics since the last progress line.
#[derive(Clone, Debug)]
pub struct LiveStats {
    pub requests: u64,
    pub errors: u64,
    pub latency: LatencyHistogram,
}

impl Default for LiveStats {
    fn default() -> Self {
        LiveStats {
            requests: 0,
            errors: 0,
            latency: LatencyHistogram::new(INTERVAL_DIGITS),
        }
    }
}

/// The length of an interval: a second, less in a short test so that a curve is visible, more in a long one.
fn interval(duration: Duration) -> Duration {
    let short = SHORT_INTERVALS_MS.into_iter().map(Duration::from_millis);
    let mut short = short.filter(|interval| duration / INTERVALS_MIN <= *interval);
    let interval = short.next().unwrap_or(Duration::from_secs(1));
    interval.max(duration / INTERVALS_MAX)
}

impl StatsRecorder {
    /// A recorder for a test of this duration.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        StatsRecorder {
            stats: Mutex::default(),
            live: Mutex::default(),
            interval: interval(duration),
        }
    }

    /// The length of an interval.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    pub fn record(&self, sample: &Sample, phase: TestPhase) {
        match phase {
            TestPhase::Measured => self.stats.lock().record(sample, self.interval),
            TestPhase::WarmUp if sample.destination == Destination::Direct => {}
            TestPhase::WarmUp => self.stats.lock().warm_up.record(sample),
        }
        let mut live = self.live.lock();
        live.requests += 1;
        live.errors += u64::from(sample.outcome == Outcome::Error);
        live.latency.record(sample.done);
    }

    /// Takes the statistics since the last call.
    #[must_use]
    pub fn take_live(&self) -> LiveStats {
        std::mem::take(&mut *self.live.lock())
    }

    /// A snapshot of the statistics.
    #[must_use]
    pub fn snapshot(&self) -> RunStats {
        self.stats.lock().clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(name: &str, done_ms: u64, outcome: Outcome) -> Sample {
        Sample {
            name: name.into(),
            destination: Destination::Target,
            due: Duration::from_millis(done_ms),
            sent: Duration::from_millis(1),
            first_event: Some(Duration::from_millis(done_ms / 2)),
            last_event: Some(Duration::from_millis(done_ms)),
            done: Duration::from_millis(done_ms),
            stream_events: 11,
            outcome,
            status: Some(200),
            cache: CacheStatus::NoHit,
            error: (outcome == Outcome::Error).then(|| "status 500".to_owned()),
        }
    }

    #[test]
    fn names_are_summed_and_quantiles_are_accurate_to_one_percent() {
        let recorder = StatsRecorder::new(Duration::from_secs(10));
        for ms in 1..=10_000 {
            let outcome = match ms % 100 {
                0 => Outcome::Error,
                1 => Outcome::RateLimited,
                2 => Outcome::Rejected,
                _ => Outcome::Success,
            };
            let name = if ms % 2 == 0 { "a" } else { "b" };
            recorder.record(&sample(name, ms, outcome), TestPhase::Measured);
        }
        let stats = recorder.snapshot();
        let all = stats.all();
        assert_eq!(all.requests, 10_000);
        assert_eq!(
            (all.error_count(), all.rate_limited, all.rejected),
            (100, 100, 100)
        );
        assert_eq!(stats.by_name["a"].requests, 5000);
        for (q, truth) in [(0.5, 5000.0), (0.99, 9900.0), (0.999, 9990.0)] {
            let found = all.latency.quantile_ms(q);
            assert!((found - truth).abs() / truth < 0.01, "{q}: {found}");
        }
        assert_eq!(all.token_time.count(), 10_000);
        // Eleven events in the second half of the time.
        let gap = all.token_time.quantile_ms(1.0);
        assert!((gap - 500.0).abs() < 1.0, "{gap}");
        let due: u64 = stats.intervals.values().map(|interval| interval.due).sum();
        let done: u64 = stats.intervals.values().map(|interval| interval.done).sum();
        assert_eq!((due, done), (10_000, 10_000));
        let curve = all.latency.curve();
        assert!(curve.is_sorted(), "{curve:?}");
        assert!(
            curve
                .iter()
                .any(|(share, ms)| *share > 0.999 && *ms > 9990.0)
        );
        assert_eq!(recorder.take_live().errors, 100);
        assert_eq!(recorder.take_live().requests, 0, "they were taken");
    }

    #[test]
    fn the_interval_depends_on_the_duration() {
        let day = Duration::from_secs(86_400);
        assert_eq!(StatsRecorder::new(day).interval(), day / 600);
        let interval_ms = |seconds| {
            let recorder = StatsRecorder::new(Duration::from_secs(seconds));
            recorder.interval().as_millis()
        };
        assert_eq!(
            [1, 8, 20, 30, 60].map(interval_ms),
            [100, 200, 500, 1000, 1000]
        );
    }
}
