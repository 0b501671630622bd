//! The minimum rate at which a client must send a pass-through body. Pure: the time is passed in.

use std::time::{Duration, Instant};

use crate::units;

/// Over this time of waiting for the client, a body must arrive at [`RATE_BYTES_PER_S`].
const WINDOW: Duration = Duration::from_secs(30);
const RATE_BYTES_PER_S: u64 = 1024;

/// What a client has sent within the window, and how long weir has waited for it. Time in which the
/// backend accepted nothing does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
    /// Since when weir has been waiting for the next piece; `None` while it is not.
    waiting_since: Option<Instant>,
}

/// Why weir stops waiting for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlowBody {
    Stalled(Duration),
    BelowMinimumRate,
}

impl SlowBody {
    /// The detail of the rejection.
    pub(super) fn detail(self) -> String {
        match self {
            SlowBody::Stalled(idle) => {
                format!("no byte of the body arrived for {}", units::shown(idle))
            }
            SlowBody::BelowMinimumRate => format!(
                "the body arrived at less than {RATE_BYTES_PER_S} bytes per second over {} s",
                WINDOW.as_secs()
            ),
        }
    }
}

impl Pace {
    /// The deadline of the next piece at `now`, and the reason to give when it passes.
    pub(super) fn wait(&mut self, now: Instant, idle: Duration) -> (Instant, SlowBody) {
        let since = *self.waiting_since.get_or_insert(now);
        let stalled_at = since + idle;
        let window_ends = since + WINDOW.saturating_sub(self.waited);
        if self.is_enough() || window_ends > stalled_at {
            (stalled_at, SlowBody::Stalled(idle))
        } else {
            (window_ends, SlowBody::BelowMinimumRate)
        }
    }

    fn is_enough(&self) -> bool {
        self.bytes >= RATE_BYTES_PER_S * WINDOW.as_secs()
    }

    /// Counts bytes that have arrived.
    pub(super) fn received(&mut self, bytes: u64, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.bytes += bytes;
        if self.waited >= WINDOW && self.is_enough() {
            // Bytes beyond the rate do not count for the next window: after a burst the rate still applies.
            *self = Pace::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const IDLE: Duration = Duration::from_secs(60);

    /// When a client that sends `bytes` at an interval of `every` is rejected, within an hour.
    fn rejected_after(bytes: u64, every: Duration, idle: Duration) -> Option<(u64, SlowBody)> {
        let begun = clock::now();
        let (mut pace, mut now) = (Pace::default(), begun);
        while now < begun + Duration::from_secs(3600) {
            let (until, why) = pace.wait(now, idle);
            if now + every > until {
                return Some((until.saturating_duration_since(begun).as_secs(), why));
            }
            now += every;
            pace.received(bytes, now);
        }
        None
    }

    #[test]
    fn a_client_below_the_minimum_rate_is_rejected_and_a_slow_one_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(
            rejected_after(1, second, IDLE),
            Some((30, SlowBody::BelowMinimumRate))
        );
        assert_eq!(
            rejected_after(1000, second, IDLE),
            Some((30, SlowBody::BelowMinimumRate))
        );
        assert_eq!(rejected_after(1024, second, IDLE), None);
        assert_eq!(rejected_after(40 * 1024, 20 * second, IDLE), None);
        // Silence is below the minimum rate, too.
        assert_eq!(
            rejected_after(1 << 20, 70 * second, IDLE),
            Some((30, SlowBody::BelowMinimumRate))
        );
        let soon = Duration::from_secs(5);
        assert_eq!(
            rejected_after(1, 6 * second, soon),
            Some((5, SlowBody::Stalled(soon)))
        );
    }

    #[test]
    fn the_minimum_rate_applies_after_a_burst() {
        let begun = clock::now();
        let mut pace = Pace::default();
        pace.wait(begun, IDLE);
        pace.received(1 << 30, begun);
        let mut now = begun;
        for _ in 0..120 {
            let (until, _) = pace.wait(now, IDLE);
            now += Duration::from_secs(1);
            if now > until {
                return;
            }
            pace.received(1, now);
        }
        panic!("never rejected");
    }

    #[test]
    fn time_of_the_backend_does_not_count() {
        let begun = clock::now();
        let mut pace = Pace::default();
        for round in 0..100 {
            // The backend accepts each piece only after a minute; the client has the next one ready.
            let now = begun + Duration::from_secs(60 * round);
            assert!(pace.wait(now, IDLE).0 > now);
            pace.received(1, now);
        }
    }
}
