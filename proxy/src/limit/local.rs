//! One limit, counted in this process by governor: GCRA, the generic cell rate algorithm, a token bucket with
//! one timestamp per key.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::Config;
use super::key::LimitKey;
use super::keys::{KeyCheck, Keys};
use super::verdict::LimitVerdict;

/// Governor multiplies interval and burst in 64 bits of nanoseconds and adds the time since its
/// start: a quota that takes longer than this (73 years) to be restored would overflow.
const WINDOW_NS_MAX: u64 = 1 << 61;

pub(super) struct Local<C: Clock> {
    /// Requests at once.
    pub(super) burst: u32,
    /// The time in which a used-up quota is restored.
    pub(super) window: Duration,
    limiter: RateLimiter<KeyCheck, Keys, C, StateInformationMiddleware>,
    keys: Keys,
    /// Its seed is random in each process, so that clients cannot choose colliding keys.
    hasher: RandomState,
}

impl<C: Clock> Local<C> {
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
        Local {
            burst: burst.get(),
            window: Duration::from_nanos(u64::try_from(window_ns).unwrap_or(u64::MAX)),
            limiter: RateLimiter::new(quota, keys.clone(), clock),
            keys,
            hasher: RandomState::new(),
        }
    }

    /// Counts one request against `key`, if there is quota for it.
    pub(super) fn check(&self, key: &LimitKey<'_>) -> LimitVerdict {
        let check = KeyCheck::new(self.hash(key));
        match self.limiter.check_key(&check) {
            Ok(state) => LimitVerdict::Admitted {
                remaining: state.remaining_burst_capacity(),
                reset: check.reset(),
            },
            Err(not_until) => LimitVerdict::Limited {
                retry_after: not_until.wait_time_from(self.limiter.clock().now()),
                reset: check.reset(),
            },
        }
    }

    /// Gives back the quota that [`Local::check`] has just counted.
    pub(super) fn give_back(&self, key: &LimitKey<'_>) {
        self.keys.give_back(self.hash(key));
    }

    /// Stores no name or address, only 64 bits of a keyed hash.
    fn hash(&self, key: &LimitKey<'_>) -> u64 {
        let (kind, bytes) = key.parts();
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u8(kind);
        hasher.write(bytes);
        hasher.finish()
    }

    pub(super) fn forget_idle(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }

    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }
}
