//! The limit stage: rates and concurrency.
//!
//! Rates are counted by GCRA, the generic cell rate algorithm (a token bucket). Limits by address are checked
//! before the body is read, the others when the client is known. It never queues: a request is admitted or
//! rejected. The limits of one step are checked in the order of the file; when one rejects, those checked
//! before it give back the quota, so that a rejected request uses none there. A limit by address keeps its count when
//! a later stage rejects: that is its purpose.
//!
//! Keys are bytes that are the same in every replica (`limit/key.rs`); a counter in this process keeps no more than a
//! keyed hash of them. Checks are asynchronous and have a deadline, for a counter that replicas share; in this
//! process they never wait. IPv6 addresses count by their /64, because one client has all of it. Requests without
//! the header of a limit by header share one key.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, MonotonicClock};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::exchange::LimitNote;

pub mod concurrency;
mod headers;
mod key;
mod keys;
mod limiter;
mod local;
#[cfg(test)]
mod tests;
mod verdict;

pub use headers::retry_after_s;
use key::LimitKey;
use limiter::Limiter;
use verdict::LimitVerdict;

/// How long a request waits at most for a counter that is not in this process.
pub const WAIT_MAX: Duration = Duration::from_millis(100);

/// Keys that one limit counts separately. Beyond it, new keys share 65,536 slots until idle keys are forgotten; about
/// 8 MiB at most.
const KEYS_MAX: usize = 200_000;

/// One checked rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub name: Arc<str>,
    /// Requests each `period`.
    pub rate: u32,
    pub period: Duration,
    /// Requests at once.
    pub burst: u32,
    pub by: By,
    /// The verified clients that it applies to; empty: all requests.
    pub clients: Vec<Arc<str>>,
}

/// What a limit counts separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The verified client; the address where there is none.
    Client,
    Address,
    Platform,
    Route,
    /// The first value; requests without it are counted together.
    Header(HeaderName),
}

/// The properties of a request that limits count by.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub address: IpAddr,
    pub client: Option<&'a str>,
    pub platform: &'a str,
    pub headers: &'a HeaderMap,
}

/// All limits of one route. The clock is a parameter for tests.
pub struct RateLimits<C: Clock = MonotonicClock> {
    by_address: Vec<Limiter<C>>,
    others: Vec<Limiter<C>>,
    policy_header: Option<HeaderValue>,
}

/// Whether a request is admitted.
#[derive(Debug)]
pub enum Decision {
    Admitted(Option<QuotaStatus>),
    Limited {
        status: QuotaStatus,
        retry_after: Duration,
    },
}

/// The quota status of the limit with the least quota left (or that rejected), for the `RateLimit` headers.
#[derive(Clone, Debug)]
pub struct QuotaStatus {
    pub policy: Arc<str>,
    pub remaining: u64,
    /// Until the quota is restored, in whole seconds, rounded up.
    pub reset_s: u64,
}

impl QuotaStatus {
    /// The note for the exchange.
    #[must_use]
    pub fn note(&self, outcome: crate::exchange::LimitOutcome) -> LimitNote {
        LimitNote {
            outcome,
            policy: self.policy.clone(),
            remaining: self.remaining,
            reset_s: self.reset_s,
        }
    }

    /// The status that an earlier stage noted.
    #[must_use]
    pub fn noted(note: &LimitNote) -> Self {
        QuotaStatus {
            policy: note.policy.clone(),
            remaining: note.remaining,
            reset_s: note.reset_s,
        }
    }

    /// The value of `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        headers::rate_limit(&self.policy, self.remaining, self.reset_s)
    }

    /// Of two statuses, such as one from before the body and one from after the signature, the one with less quota:
    /// fewer requests left, or with equal numbers a longer time to restore.
    #[must_use]
    pub fn nearer(one: Option<QuotaStatus>, other: Option<QuotaStatus>) -> Option<QuotaStatus> {
        match (one, other) {
            (Some(one), Some(other)) if one.distance() <= other.distance() => Some(one),
            (one, None) => one,
            (_, other) => other,
        }
    }

    fn distance(&self) -> (u64, std::cmp::Reverse<u64>) {
        (self.remaining, std::cmp::Reverse(self.reset_s))
    }
}

impl RateLimits {
    /// The limits of one route, all quotas unused.
    #[must_use]
    pub fn new(limits: &[Config]) -> Self {
        RateLimits::with_clock(limits, KEYS_MAX, &MonotonicClock)
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    fn with_clock(limits: &[Config], keys_max: usize, clock: &C) -> Self {
        let limiters: Vec<_> = limits
            .iter()
            .map(|config| Limiter::new(config, keys_max, clock.clone()))
            .collect();
        let mut policies = Vec::new();
        for limiter in &limiters {
            let window_s = headers::seconds_up(limiter.window).max(1);
            headers::push_policy(&mut policies, &limiter.name, limiter.burst, window_s);
        }
        let (by_address, others) = limiters
            .into_iter()
            .partition(|limiter| limiter.by == By::Address);
        RateLimits {
            by_address,
            others,
            policy_header: (!policies.is_empty()).then(|| headers::field(policies)),
        }
    }
}

impl<C: Clock> RateLimits<C> {
    /// Whether any limit can be checked before the body has been read.
    #[must_use]
    pub fn any_by_address(&self) -> bool {
        !self.by_address.is_empty()
    }

    /// Whether there are others, by what a request states or by the client that its signature names.
    #[must_use]
    pub fn any_by_request(&self) -> bool {
        !self.others.is_empty()
    }

    /// Checks the limits by address. A request checked here is not checked again by [`RateLimits::admit`].
    pub async fn admit_address(&self, subject: &Subject<'_>, deadline: Instant) -> Decision {
        check_all(&self.by_address, subject, deadline).await
    }

    /// Checks all other limits; the first that rejects decides. A counter outside this process has until `deadline`.
    pub async fn admit(&self, subject: &Subject<'_>, deadline: Instant) -> Decision {
        check_all(&self.others, subject, deadline).await
    }

    /// The value of `RateLimit-Policy`: all limits of the route. `None` when there are none.
    #[must_use]
    pub fn policy_header(&self) -> Option<&HeaderValue> {
        self.policy_header.as_ref()
    }

    /// Forgets idle keys; called on a timer.
    pub fn forget_idle(&self) {
        for limiter in self.all() {
            limiter.forget_idle();
        }
    }

    /// How many keys are held, for metrics and tests.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.all().map(Limiter::keys).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Limiter<C>> {
        self.by_address.iter().chain(&self.others)
    }
}

async fn check_all<C: Clock>(
    limiters: &[Limiter<C>],
    subject: &Subject<'_>,
    deadline: Instant,
) -> Decision {
    let mut nearest: Option<(&Limiter<C>, u32, Duration)> = None;
    for (position, limiter) in limiters.iter().enumerate() {
        if !limiter.holds_for(subject.client) {
            continue;
        }
        let key = LimitKey::of(&limiter.by, subject);
        match limiter.check(&key, deadline).await {
            LimitVerdict::Admitted { remaining, reset } => {
                let nearer = nearest.is_none_or(|(_, least, longest)| {
                    remaining < least || (remaining == least && reset > longest)
                });
                if nearer {
                    nearest = Some((limiter, remaining, reset));
                }
            }
            LimitVerdict::Limited { retry_after, reset } => {
                give_back(&limiters[..position], subject, deadline).await;
                return Decision::Limited {
                    status: status(limiter, 0, reset),
                    retry_after,
                };
            }
        }
    }
    Decision::Admitted(nearest.map(|(limiter, remaining, reset)| status(limiter, remaining, reset)))
}

async fn give_back<C: Clock>(limiters: &[Limiter<C>], subject: &Subject<'_>, deadline: Instant) {
    for limiter in limiters {
        if limiter.holds_for(subject.client) {
            let key = LimitKey::of(&limiter.by, subject);
            limiter.give_back(&key, deadline).await;
        }
    }
}

impl<C: Clock> std::fmt::Debug for RateLimits<C> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.all().map(|limiter| &limiter.name).collect();
        formatter.debug_tuple("RateLimits").field(&names).finish()
    }
}

fn status<C: Clock>(limiter: &Limiter<C>, remaining: u32, reset: Duration) -> QuotaStatus {
    QuotaStatus {
        policy: limiter.name.clone(),
        remaining: u64::from(remaining),
        reset_s: headers::seconds_up(reset),
    }
}
