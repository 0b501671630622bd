//! Sliding windows over counts.
//!
//! Pure: the time is passed in. A window is a ring of the counts of each evaluation; counts older than the window
//! are subtracted again. However long the window and short the interval, the ring has about [`SLOTS_MAX`] slots:
//! beyond that, several evaluations share one.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Delta};
use super::histogram::Histogram;

/// The finest resolution of a window.
pub const SLOTS_MAX: u32 = 300;

/// The sums of one window.
#[derive(Debug)]
pub struct Window {
    length: Duration,
    interval: Duration,
    slots: VecDeque<WindowSlot>,
    durations: Histogram,
    first_tokens: Histogram,
    counts: Counts,
}

/// The counts of one evaluation, or of a few.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WindowSlot {
    pub started: Duration,
    /// The time of its last counts.
    pub ended: Duration,
    pub delta: Delta,
}

impl Window {
    /// A window of this length that slides every `interval`.
    #[must_use]
    pub fn new(length: Duration, interval: Duration) -> Self {
        Window {
            length,
            interval,
            slots: VecDeque::new(),
            durations: Histogram::default(),
            first_tokens: Histogram::default(),
            counts: Counts::default(),
        }
    }

    /// A window with these slots, from the oldest.
    #[must_use]
    pub fn resumed(length: Duration, interval: Duration, slots: Vec<WindowSlot>) -> Self {
        let mut window = Window::new(length, interval);
        for slot in &slots {
            window.count(&slot.delta);
        }
        window.slots = slots.into();
        window
    }

    /// What it holds, from the oldest.
    pub fn slots(&self) -> impl Iterator<Item = &WindowSlot> {
        self.slots.iter()
    }

    fn count(&mut self, delta: &Delta) {
        self.durations.add(&delta.durations);
        self.first_tokens.add(&delta.first_tokens);
        self.counts.each(&delta.counts, |sum, more| sum + more);
    }

    /// Changes length and interval from the next [`Window::slide`] on; the counts of the window are kept.
    pub fn resize(&mut self, length: Duration, interval: Duration) {
        (self.length, self.interval) = (length, interval);
    }

    /// Adds the counts up to `now`, and drops those older than the window.
    pub fn slide(&mut self, now: Duration, delta: Delta) {
        self.count(&delta);
        let share = self.length / SLOTS_MAX;
        match self.slots.back_mut() {
            Some(last) if share > self.interval && now.saturating_sub(last.started) < share => {
                last.ended = now;
                last.delta.add(&delta);
            }
            _ => self.slots.push_back(WindowSlot {
                started: now,
                ended: now,
                delta,
            }),
        }
        // Half an interval of tolerance for evaluations that are early or late.
        let tolerance = self.interval / 2;
        while let Some(slot) = self.slots.front()
            && now.saturating_sub(slot.ended) + tolerance >= self.length
            && self.slots.len() > 1
        {
            if let Some(slot) = self.slots.pop_front() {
                self.durations.subtract(&slot.delta.durations);
                self.first_tokens.subtract(&slot.delta.first_tokens);
                self.counts.each(&slot.delta.counts, u64::saturating_sub);
            }
        }
    }

    /// Times from the request head to the end of the response; their total is the number of requests.
    #[must_use]
    pub fn durations(&self) -> &Histogram {
        &self.durations
    }

    #[must_use]
    pub fn first_tokens(&self) -> &Histogram {
        &self.first_tokens
    }

    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    const SECOND: Duration = Duration::from_secs(1);

    fn failed(count: u64) -> Delta {
        Delta {
            durations: vec![(7, count * 2)],
            first_tokens: vec![(9, count)],
            counts: Counts {
                failed: count,
                ..Counts::default()
            },
        }
    }

    #[test]
    fn sums_cover_exactly_the_window() {
        let mut window = Window::new(SECOND * 300, SECOND * 15);
        let mut history = Vec::new();
        for step in 0..200_u32 {
            let count = (random::bits() % 100) as u64;
            history.push(count);
            // Evaluations are a little early or late.
            let jitter = Duration::from_millis((random::bits() % 1000) as u64);
            window.slide(SECOND * 15 * step + jitter, failed(count));
            let sum: u64 = history.iter().rev().take(20).sum();
            assert_eq!(window.counts().failed, sum, "step {step}");
            assert_eq!(window.durations().total(), sum * 2);
            assert_eq!(window.first_tokens().total(), sum);
        }
    }

    #[test]
    fn counts_from_before_a_pause_are_dropped() {
        let mut window = Window::new(SECOND * 300, SECOND * 15);
        window.slide(SECOND, failed(5));
        window.slide(SECOND * 5000, failed(1));
        assert_eq!(window.counts().failed, 1);
    }

    #[test]
    fn a_long_window_with_short_steps_is_bounded_and_nearly_exact() {
        let step = Duration::from_millis(100);
        let mut window = Window::new(SECOND * 3600, step);
        for at in 0..80_000_u32 {
            window.slide(step * at, failed(1));
            assert!(window.slots.len() <= SLOTS_MAX as usize + 2);
        }
        let sum = window.counts().failed;
        assert!((36_000..=36_240).contains(&sum), "{sum}");
    }
}
