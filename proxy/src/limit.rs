//! Stage four: rates, and requests at once.
//!
//! Limits by address are asked before the body is read, the others when the client is known. It
//! never waits: a request is admitted or refused at once. The limits of one step are asked in the
//! order of the file; when one says no, those asked before it get back what they had counted, so
//! that a refused request costs nothing there. A limit by address keeps its count also when a later
//! stage refuses: that is what it is for.
//!
//! Keys are 64-bit hashes under a random key of this process: no name or address is kept, and nobody
//! outside can choose two that collide. IPv6 addresses count by their /64, because one client
//! commands all of it. Requests without the header of a limit by header count as one.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::exchange::LimitNote;

pub mod concurrency;
mod headers;
mod keys;
mod local;
#[cfg(test)]
mod tests;

pub use headers::retry_after_s;
use local::{Limiter, Verdict};

/// Keys that one limit counts apart. Past it, keys that are new share 65,536 slots until others
/// have been idle long enough to be forgotten; about 8 MiB at most.
const KEYS_MAX: usize = 200_000;

/// One checked rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub name: Arc<str>,
    /// Requests each `period`.
    pub rate: u32,
    pub period: Duration,
    /// How many at once.
    pub burst: u32,
    pub by: By,
    /// The verified clients it holds for; empty: for every request.
    pub clients: Vec<Arc<str>>,
}

/// What a limit counts by.
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

/// Whom a request is counted against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub address: IpAddr,
    pub client: Option<&'a str>,
    pub platform: &'a str,
    pub headers: &'a HeaderMap,
}

/// All limits of one route. The clock is a parameter for the tests' sake.
pub struct Limits<C: Clock = MonotonicClock> {
    by_address: Vec<Limiter<C>>,
    others: Vec<Limiter<C>>,
    policy_header: Option<HeaderValue>,
    hasher: RandomState,
}

/// Whether a request may go on.
#[derive(Debug)]
pub enum Decision {
    Admitted(Option<Standing>),
    Limited {
        standing: Standing,
        retry_after: Duration,
    },
}

/// Where a request stands in the limit that is nearest to its end (or that said no): what the
/// `RateLimit` headers tell.
#[derive(Clone, Debug)]
pub struct Standing {
    pub policy: Arc<str>,
    pub remaining: u64,
    /// Until the quota is whole again, in whole seconds, rounded up.
    pub reset_s: u64,
}

impl Standing {
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

    /// What an earlier stage noted.
    #[must_use]
    pub fn noted(note: &LimitNote) -> Self {
        Standing {
            policy: note.policy.clone(),
            remaining: note.remaining,
            reset_s: note.reset_s,
        }
    }

    /// The value of `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        headers::standing(&self.policy, self.remaining, self.reset_s)
    }

    /// Of two standings, such as one from before the body and one from after the signature, the one
    /// nearer to its end: fewer requests left, or at the same number a longer way back.
    #[must_use]
    pub fn nearer(one: Option<Standing>, other: Option<Standing>) -> Option<Standing> {
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

impl Limits {
    /// The limits of `route`, all of them whole.
    #[must_use]
    pub fn new(limits: &[Config], route: &Arc<str>) -> Self {
        // A set of limits belongs to one route, so its name need not be part of any key.
        let _ = route;
        Limits::with_clock(limits, KEYS_MAX, &MonotonicClock)
    }
}

impl<C: Clock + Clone> Limits<C> {
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
        Limits {
            by_address,
            others,
            policy_header: (!policies.is_empty()).then(|| headers::field(policies)),
            hasher: RandomState::new(),
        }
    }
}

impl<C: Clock> Limits<C> {
    /// Whether any limit can be asked before the body has been read.
    #[must_use]
    pub fn any_by_address(&self) -> bool {
        !self.by_address.is_empty()
    }

    /// Asks the limits by address. A request asked here is not asked again by [`Limits::admit`].
    #[must_use]
    pub fn admit_address(&self, subject: &Subject<'_>) -> Decision {
        self.ask_all(&self.by_address, subject)
    }

    /// Asks all other limits; the first that says no answers.
    #[must_use]
    pub fn admit(&self, subject: &Subject<'_>) -> Decision {
        self.ask_all(&self.others, subject)
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

    fn ask_all(&self, limiters: &[Limiter<C>], subject: &Subject<'_>) -> Decision {
        let mut nearest: Option<(&Limiter<C>, u32, Duration)> = None;
        for (position, limiter) in limiters.iter().enumerate() {
            if !limiter.holds_for(subject.client) {
                continue;
            }
            match limiter.ask(self.key(&limiter.by, subject)) {
                Verdict::Admitted {
                    remaining,
                    until_whole,
                } => {
                    let nearer = nearest.is_none_or(|(_, least, longest)| {
                        remaining < least || (remaining == least && until_whole > longest)
                    });
                    if nearer {
                        nearest = Some((limiter, remaining, until_whole));
                    }
                }
                Verdict::Limited {
                    retry_after,
                    until_whole,
                } => {
                    let asked = limiters[..position].iter();
                    for asked in asked.filter(|asked| asked.holds_for(subject.client)) {
                        asked.give_back(self.key(&asked.by, subject));
                    }
                    return Decision::Limited {
                        standing: standing(limiter, 0, until_whole),
                        retry_after,
                    };
                }
            }
        }
        Decision::Admitted(
            nearest
                .map(|(limiter, remaining, until_whole)| standing(limiter, remaining, until_whole)),
        )
    }

    /// Every kind of key begins with a number of its own, so that a client who is named like an
    /// address is not that address.
    fn key(&self, by: &By, subject: &Subject<'_>) -> u64 {
        match by {
            By::Client => match subject.client {
                Some(client) => self.hash(0, client.as_bytes()),
                None => self.address_key(subject.address),
            },
            By::Address => self.address_key(subject.address),
            By::Platform => self.hash(3, subject.platform.as_bytes()),
            By::Route => 0,
            By::Header(name) => match subject.headers.get(name) {
                Some(value) => self.hash(4, value.as_bytes()),
                None => self.hash(5, b"absent"),
            },
        }
    }

    fn address_key(&self, address: IpAddr) -> u64 {
        // An IPv4 client on a dual-stack socket is still that IPv4 client.
        match address.to_canonical() {
            IpAddr::V4(address) => self.hash(1, &address.octets()),
            IpAddr::V6(address) => self.hash(2, &address.octets()[..8]),
        }
    }

    fn hash(&self, kind: u8, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u8(kind);
        hasher.write(bytes);
        hasher.finish()
    }
}

impl<C: Clock> std::fmt::Debug for Limits<C> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.all().map(|limiter| &limiter.name).collect();
        formatter.debug_tuple("Limits").field(&names).finish()
    }
}

fn standing<C: Clock>(limiter: &Limiter<C>, remaining: u32, until_whole: Duration) -> Standing {
    Standing {
        policy: limiter.name.clone(),
        remaining: u64::from(remaining),
        reset_s: headers::seconds_up(until_whole),
    }
}
