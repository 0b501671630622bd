//! When each request is due: an open-model schedule. The arrival rate does not depend on responses, which is what
//! avoids coordinated omission.
//!
//! Pure: times are durations since the start of the test.

use std::time::Duration;

mod text;

pub use text::{RateError, Spikes, rates, shown, spikes};

/// The most spikes in one schedule.
const SPIKES_MAX: f64 = 100_000.0;

/// A segment of a schedule, in which the arrival rate changes linearly.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment {
    start_s: f64,
    length_s: f64,
    /// Requests per second, at its start and its end.
    from: f64,
    to: f64,
    /// Requests that are due before this segment.
    before: f64,
}

impl Segment {
    /// Requests that are due in the first `seconds` of the segment.
    fn due_within(&self, seconds: f64) -> f64 {
        self.from * seconds + (self.to - self.from) * seconds * seconds / (2.0 * self.length_s)
    }

    fn count(&self) -> f64 {
        self.due_within(self.length_s)
    }

    /// When the request with this number, counted within the segment, is due.
    fn due_s(&self, number: f64) -> f64 {
        let slope = (self.to - self.from) / self.length_s;
        if slope.abs() < 1e-12 {
            return number / self.from;
        }
        // from * t + slope / 2 * t^2 = number
        let root = (self.from * self.from + 2.0 * slope * number)
            .max(0.0)
            .sqrt();
        (root - self.from) / slope
    }
}

/// The due times of a whole test.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    shape: Shape,
    total: u64,
    duration: Duration,
    warm_up: WarmUp,
}

/// Requests that are sent before the measured part of the test.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct WarmUp {
    duration: Duration,
    count: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Segments(Vec<Segment>),
    /// The arrival times of a recording.
    Recorded(Vec<Duration>),
}

/// Why there is nothing to schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("more than {SPIKES_MAX} --spikes within --duration")]
    TooManySpikes,
    #[error("no request is due: use a higher --rate or a longer --duration")]
    NothingDue,
    #[error("the recording contains no requests")]
    EmptyRecording,
}

impl Schedule {
    /// A schedule of stages of equal length. Each stage is a pair of rates in requests per second: a ramp from the
    /// first to the second, or a constant rate where both are equal.
    ///
    /// # Errors
    /// A schedule without any request, or with too many spikes.
    pub fn new(
        rates: &[(f64, f64)],
        duration: Duration,
        spikes: Option<Spikes>,
    ) -> Result<Self, ScheduleError> {
        if spikes
            .is_some_and(|spikes| duration.as_secs_f64() / spikes.every.as_secs_f64() > SPIKES_MAX)
        {
            return Err(ScheduleError::TooManySpikes);
        }
        let length_s = duration.as_secs_f64() / rates.len().max(1) as f64;
        let plain: Vec<(f64, f64, f64)> = rates
            .iter()
            .map(|(from, to)| (length_s, *from, *to))
            .collect();
        let split = match spikes {
            Some(spikes) => with_spikes(&plain, spikes),
            None => plain,
        };
        let mut segments = Vec::new();
        let (mut start_s, mut before) = (0.0, 0.0);
        for (length_s, from, to) in split {
            let segment = Segment {
                start_s,
                length_s,
                from,
                to,
                before,
            };
            start_s += length_s;
            before += segment.count();
            segments.push(segment);
        }
        let total = (before + 1e-9).floor() as u64;
        if total == 0 {
            return Err(ScheduleError::NothingDue);
        }
        Ok(Schedule {
            shape: Shape::Segments(segments),
            total,
            duration,
            warm_up: WarmUp::default(),
        })
    }

    /// The schedule of a recording, from its arrival times in any order; the test starts with the earliest.
    ///
    /// # Errors
    /// An empty recording.
    pub fn recorded(mut times: Vec<Duration>) -> Result<Self, ScheduleError> {
        times.sort_unstable();
        let Some(first) = times.first().copied() else {
            return Err(ScheduleError::EmptyRecording);
        };
        for time in &mut times {
            *time -= first;
        }
        let duration = times.last().copied().unwrap_or_default();
        Ok(Schedule {
            total: times.len() as u64,
            shape: Shape::Recorded(times),
            duration: duration.max(Duration::from_millis(1)),
            warm_up: WarmUp::default(),
        })
    }

    /// Adds a warm-up at the initial rate, whose requests are not measured. A recording, or a ramp from 0, has no
    /// warm-up.
    #[must_use]
    pub fn with_warm_up(mut self, duration: Duration) -> Self {
        let rate = match &self.shape {
            Shape::Segments(segments) => segments.first().map_or(0.0, |segment| segment.from),
            Shape::Recorded(_) => 0.0,
        };
        let count = (rate * duration.as_secs_f64() + 1e-9).floor() as u64;
        if count > 0 {
            self.warm_up = WarmUp { duration, count };
        }
        self
    }

    /// How many requests are due, the warm-up excluded.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many requests the warm-up has: the first ones of [`Schedule::due`].
    #[must_use]
    pub fn warm_up_count(&self) -> u64 {
        self.warm_up.count
    }

    /// The duration, without the warm-up.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// The duration of the warm-up.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        self.warm_up.duration
    }

    /// The mean arrival rate, in requests per second.
    #[must_use]
    pub fn mean_rate(&self) -> f64 {
        self.total as f64 / self.duration.as_secs_f64()
    }

    /// The highest arrival rate, in requests per second; the mean for a recording.
    #[must_use]
    pub fn peak_rate(&self) -> f64 {
        match &self.shape {
            Shape::Recorded(_) => self.mean_rate(),
            Shape::Segments(segments) => {
                let rates = segments.iter().map(|segment| segment.from.max(segment.to));
                rates.fold(0.0, f64::max)
            }
        }
    }

    /// When the request with this number is due; numbers start at 0, with the warm-up. `None` past the last request.
    #[must_use]
    pub fn due(&self, number: u64) -> Option<Duration> {
        let Some(number) = number.checked_sub(self.warm_up.count) else {
            let share = number as f64 / self.warm_up.count as f64;
            return Some(self.warm_up.duration.mul_f64(share));
        };
        Some(self.warm_up.duration + self.due_after_warm_up(number)?)
    }

    fn due_after_warm_up(&self, number: u64) -> Option<Duration> {
        if number >= self.total {
            return None;
        }
        match &self.shape {
            Shape::Recorded(times) => times.get(usize::try_from(number).ok()?).copied(),
            Shape::Segments(segments) => {
                let number = number as f64;
                let after = segments.partition_point(|segment| segment.before <= number);
                let segment = segments.get(after.checked_sub(1)?)?;
                let due_s = segment.start_s + segment.due_s(number - segment.before);
                Some(Duration::from_secs_f64(due_s.max(0.0)))
            }
        }
    }
}

/// Splits segments of (seconds, from, to) at the start and end of each spike, and sets the rate within spikes.
fn with_spikes(segments: &[(f64, f64, f64)], spikes: Spikes) -> Vec<(f64, f64, f64)> {
    let (every_s, spike_s) = (spikes.every.as_secs_f64(), spikes.length.as_secs_f64());
    let mut split = Vec::new();
    let mut now = 0.0;
    for (length_s, from, to) in segments {
        let (start, end) = (now, now + length_s);
        let rate = |at: f64| from + (to - from) * (at - start) / length_s;
        while end - now > 1e-9 {
            let since = now % every_s;
            // The first spike starts after a full interval, so that there is a baseline to compare with.
            let is_spike = now >= every_s - 1e-9 && since < spike_s - 1e-9;
            let next = match is_spike {
                true => now - since + spike_s,
                false => now - since + every_s,
            };
            let until = next.min(end).max(now + 1e-6);
            split.push(match is_spike {
                true => (until - now, spikes.rate, spikes.rate),
                false => (until - now, rate(now), rate(until)),
            });
            now = until;
        }
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(text: &str, seconds: u32) -> Schedule {
        Schedule::new(&rates(text).expect("rates"), SECOND * seconds, None).expect("a schedule")
    }

    /// Requests that are due in each second.
    fn by_second(schedule: &Schedule) -> Vec<u64> {
        let mut counts = vec![0; schedule.duration().as_secs() as usize];
        for number in 0..schedule.total() {
            let due = schedule.due(number).expect("due");
            counts[due.as_secs() as usize] += 1;
        }
        counts
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced() {
        let schedule = schedule("50/s", 3);
        assert_eq!(by_second(&schedule), [50, 50, 50]);
        assert_eq!(schedule.due(0), Some(Duration::ZERO));
        assert_eq!(schedule.due(75), Some(Duration::from_millis(1500)));
        assert_eq!(schedule.due(150), None);
        assert_eq!(super::tests::schedule("30/min", 60).total(), 30);
    }

    #[test]
    fn a_ramp_is_linear_and_stages_are_constant() {
        let ramp = schedule("0/s..100/s", 10);
        assert_eq!(ramp.total(), 500);
        let counts = by_second(&ramp);
        for (second, count) in counts.iter().enumerate() {
            let middle = (second as f64 + 0.5) * 10.0;
            assert!((*count as f64 - middle).abs() <= 1.5, "{counts:?}");
        }
        assert_eq!(
            by_second(&schedule("100/s..0/s", 10)).iter().sum::<u64>(),
            500
        );
        let steps = by_second(&schedule("10/s,20/s,40/s", 6));
        assert_eq!(steps, [10, 10, 20, 20, 40, 40]);
    }

    #[test]
    fn due_times_are_monotonic() {
        let spikes = spikes("400/s:2s/5s").expect("spikes");
        for (text, spikes) in [
            ("7/s", None),
            ("3/s..90/s", None),
            ("90/s..3/s,50/s", Some(spikes)),
        ] {
            let rates = rates(text).expect("rates");
            let schedule = Schedule::new(&rates, SECOND * 20, spikes).expect("a schedule");
            let due: Vec<_> = (0..schedule.total())
                .map(|number| schedule.due(number))
                .collect();
            assert!(due.is_sorted(), "{text}");
            assert!(due.last().expect("one").expect("due") <= SECOND * 20);
        }
    }

    #[test]
    fn spikes_replace_the_rate_at_intervals() {
        let spikes = spikes("100/s:1s/4s").expect("spikes");
        let schedule = Schedule::new(&[(10.0, 10.0)], SECOND * 10, Some(spikes)).expect("one");
        let counts = by_second(&schedule);
        assert_eq!(counts, [10, 10, 10, 10, 100, 10, 10, 10, 100, 10]);
    }

    #[test]
    fn a_recording_starts_with_its_earliest_request() {
        let ms = Duration::from_millis;
        let schedule = Schedule::recorded(vec![ms(5200), ms(5000), ms(5700)]).expect("one");
        let due: Vec<_> = (0..4).map(|number| schedule.due(number)).collect();
        assert_eq!(due, [Some(ms(0)), Some(ms(200)), Some(ms(700)), None]);
        assert!(Schedule::recorded(Vec::new()).is_err());
        assert!(Schedule::new(&[(0.0, 0.0)], SECOND, None).is_err());
    }

    #[test]
    fn a_warm_up_precedes_the_test_and_is_not_counted() {
        let schedule = schedule("50/s", 3).with_warm_up(SECOND * 2);
        assert_eq!((schedule.total(), schedule.warm_up_count()), (150, 100));
        let due = |number| schedule.due(number).expect("due");
        assert_eq!(
            (due(0), due(99)),
            (Duration::ZERO, Duration::from_millis(1980))
        );
        assert_eq!(
            (due(100), due(101)),
            (SECOND * 2, Duration::from_millis(2020))
        );
        assert_eq!(schedule.due(250), None);
        let ramp = super::tests::schedule("0/s..10/s", 4);
        assert_eq!(ramp.clone().with_warm_up(SECOND), ramp);
    }
}
