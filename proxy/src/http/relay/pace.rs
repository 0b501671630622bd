//! How fast a client has to send a body that nobody buffers: pure, the clock is an argument.

use std::time::{Duration, Instant};

/// Over this time of waiting for the client, a body has to come at [`RATE_BYTES_PER_S`].
const WINDOW: Duration = Duration::from_secs(30);
const RATE_BYTES_PER_S: u64 = 1024;

/// What a client has sent within the window, and how long it has been waited for. Time in which the
/// backend took nothing is not the client's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
    /// Since when the next piece is waited for, while it is.
    waiting_since: Option<Instant>,
}

/// Why a client is not waited for any longer.
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
                format!("no byte of the body arrived for {} ms", idle.as_millis())
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

    /// So many bytes came.
    pub(super) fn came(&mut self, bytes: u64, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        self.bytes += bytes;
        if self.waited >= WINDOW && self.is_enough() {
            // What is over the rate does not count for the next window: a burst is no licence to drip.
            *self = Pace::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const IDLE: Duration = Duration::from_secs(60);

    /// When a client that sends so many bytes each so often is given up, within an hour.
    fn given_up(bytes: u64, every: Duration, idle: Duration) -> Option<(u64, SlowBody)> {
        let begun = clock::now();
        let (mut pace, mut now) = (Pace::default(), begun);
        while now < begun + Duration::from_secs(3600) {
            let (until, why) = pace.wait(now, idle);
            if now + every > until {
                return Some((until.saturating_duration_since(begun).as_secs(), why));
            }
            now += every;
            pace.came(bytes, now);
        }
        None
    }

    #[test]
    fn a_client_that_drips_is_given_up_and_a_slow_one_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(
            given_up(1, second, IDLE),
            Some((30, SlowBody::BelowMinimumRate))
        );
        assert_eq!(
            given_up(1000, second, IDLE),
            Some((30, SlowBody::BelowMinimumRate))
        );
        assert_eq!(given_up(1024, second, IDLE), None);
        assert_eq!(given_up(40 * 1024, 20 * second, IDLE), None);
        // Silence is the slowest drip.
        assert_eq!(
            given_up(1 << 20, 70 * second, IDLE),
            Some((30, SlowBody::BelowMinimumRate))
        );
        let soon = Duration::from_secs(5);
        assert_eq!(
            given_up(1, 6 * second, soon),
            Some((5, SlowBody::Stalled(soon)))
        );
    }

    #[test]
    fn a_burst_is_no_licence_to_drip_for_ever() {
        let begun = clock::now();
        let mut pace = Pace::default();
        pace.wait(begun, IDLE);
        pace.came(1 << 30, begun);
        let mut now = begun;
        for _ in 0..120 {
            let (until, _) = pace.wait(now, IDLE);
            now += Duration::from_secs(1);
            if now > until {
                return;
            }
            pace.came(1, now);
        }
        panic!("never given up");
    }

    #[test]
    fn time_that_the_backend_took_is_not_the_clients() {
        let begun = clock::now();
        let mut pace = Pace::default();
        for round in 0..100 {
            // The backend takes each piece only after a minute; the client has the next one ready.
            let now = begun + Duration::from_secs(60 * round);
            assert!(pace.wait(now, IDLE).0 > now);
            pace.came(1, now);
        }
    }
}
