//! Stage four: rates, and requests at once.
//!
//! Limits by address are asked before the body is read, the others when the client is known. It
//! never waits: a request is admitted or refused at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::exchange::LimitNote;

/// One checked rate limit.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: Arc<str>,
    /// Requests each `period`.
    pub rate: u32,
    pub period: Duration,
    /// How many at once.
    pub burst: u32,
    pub by: By,
}

/// What a limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The verified client; the address where there is none.
    Client,
    Address,
    Platform,
    Route,
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

/// All limits of one route.
pub struct Limits {
    _private: (),
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
        }
    }
}

impl Limits {
    #[must_use]
    pub fn new(limits: &[Config], route: &Arc<str>) -> Self {
        let _ = (limits, route);
        todo!("limit helper")
    }

    /// Whether any limit can be asked before the body has been read.
    #[must_use]
    pub fn any_by_address(&self) -> bool {
        todo!("limit helper")
    }

    /// Asks the limits by address. A request asked here is not asked again by [`Limits::admit`].
    #[must_use]
    pub fn admit_address(&self, subject: &Subject<'_>) -> Decision {
        let _ = subject;
        todo!("limit helper")
    }

    /// Asks all other limits; the first that says no answers.
    #[must_use]
    pub fn admit(&self, subject: &Subject<'_>) -> Decision {
        let _ = subject;
        todo!("limit helper")
    }

    /// The value of `RateLimit-Policy`: all limits of the route. `None` when there are none.
    #[must_use]
    pub fn policy_header(&self) -> Option<&http::HeaderValue> {
        todo!("limit helper")
    }

    /// Forgets idle keys; called on a timer.
    pub fn forget_idle(&self) {
        todo!("limit helper")
    }

    /// How many keys are held, for metrics and tests.
    #[must_use]
    pub fn keys(&self) -> usize {
        todo!("limit helper")
    }
}
