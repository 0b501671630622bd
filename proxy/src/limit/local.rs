//! One limit, counted in this process by governor.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::keys::{Ask, Keys};
use super::{By, Config};

/// Governor multiplies interval and burst in 64 bits of nanoseconds and adds the time since its
/// start: a quota that takes longer than this (73 years) to come back would overflow.
const WINDOW_NS_MAX: u64 = 1 << 61;

pub(super) struct Limiter<C: Clock> {
    pub(super) name: Arc<str>,
    pub(super) by: By,
    /// How many may come at once.
    pub(super) burst: u32,
    clients: Vec<Arc<str>>,
    /// How long a quota that is used up takes to be whole again.
    pub(super) window: Duration,
    limiter: RateLimiter<Ask, Keys, C, StateInformationMiddleware>,
    keys: Keys,
}

/// What a limit says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted {
        remaining: u32,
        until_whole: Duration,
    },
    Limited {
        retry_after: Duration,
        until_whole: Duration,
    },
}

impl<C: Clock> Limiter<C> {
    pub(super) fn new(config: &Config, keys_max: usize, clock: C) -> Self {
        let rate = u64::from(config.rate.max(1));
        let period_ns = u64::try_from(config.period.as_nanos())
            .unwrap_or(u64::MAX)
            .clamp(1, WINDOW_NS_MAX);
        let interval_ns = (period_ns / rate).max(1);
        let burst_max = u32::try_from(WINDOW_NS_MAX / interval_ns).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(config.burst.min(burst_max)).unwrap_or(NonZeroU32::MIN);
        let interval = Duration::from_nanos(interval_ns);
        let quota = Quota::with_period(interval)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        let keys = Keys::new(interval, keys_max);
        // From the rate itself, not from the interval that was rounded down.
        let window_ns = (u128::from(period_ns) * u128::from(burst.get())).div_ceil(rate.into());
        Limiter {
            name: config.name.clone(),
            by: config.by.clone(),
            burst: burst.get(),
            clients: config.clients.clone(),
            window: Duration::from_nanos(u64::try_from(window_ns).unwrap_or(u64::MAX)),
            limiter: RateLimiter::new(quota, keys.clone(), clock),
            keys,
        }
    }

    /// Whether requests of this client are counted here.
    pub(super) fn holds_for(&self, client: Option<&str>) -> bool {
        self.clients.is_empty()
            || client.is_some_and(|client| self.clients.iter().any(|named| **named == *client))
    }

    /// Counts one request against `key`, if there is room for it.
    pub(super) fn ask(&self, key: u64) -> Verdict {
        let ask = Ask::new(key);
        match self.limiter.check_key(&ask) {
            Ok(state) => Verdict::Admitted {
                remaining: state.remaining_burst_capacity(),
                until_whole: ask.until_whole(),
            },
            Err(not_until) => Verdict::Limited {
                retry_after: not_until.wait_time_from(self.limiter.clock().now()),
                until_whole: ask.until_whole(),
            },
        }
    }

    /// Takes back what [`Limiter::ask`] has just counted.
    pub(super) fn give_back(&self, key: u64) {
        self.keys.give_back(key);
    }

    pub(super) fn forget_idle(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }
}
