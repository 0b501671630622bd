//! How long a stored response is fresh, and how long it may be used beyond that (RFC 9111, section 4.2; RFC 5861).

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::super::freshness::{age, date, expires};
use super::directives::{Directive, DirectiveSource, ResponseDirectives};

/// Section 4.2.2 suggests a tenth of the time since the last modification.
const HEURISTIC_DIVISOR: u32 = 10;
/// The longest lifetime that is guessed.
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 3600);

/// When a response was asked for, and when its head arrived, since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptTimes {
    pub asked_at: Duration,
    pub received_at: Duration,
}

/// Whether a response could serve several requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shareability {
    Possible,
    /// Not this one: it is a failure, or has arrived stale.
    NotNow,
    /// It must not be stored, or has to be validated for each request.
    Impossible,
}

/// Where the lifetime of a response is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LifetimeBasis {
    /// Its head states one.
    Stated,
    /// It is guessed, or zero.
    Guessed,
}

/// The times of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredFreshness {
    received_at: Duration,
    /// Its age then.
    initial_age: Duration,
    /// The age up to which it is fresh.
    lifetime: Duration,
    pub(super) basis: LifetimeBasis,
    pub(super) stale_while_revalidate: Duration,
    pub(super) stale_if_error: Duration,
}

impl StoredFreshness {
    pub(super) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        times: ReceiptTimes,
    ) -> Self {
        let received_at = times.received_at;
        let dated = date(headers, &header::DATE);
        // Section 4.2.3. Dates are in whole seconds.
        let received_s = Duration::from_secs(received_at.as_secs());
        let apparent = dated.map_or(Duration::ZERO, |dated| received_s.saturating_sub(dated));
        let delay = received_at.saturating_sub(times.asked_at);
        let lifetime = match directives.source {
            DirectiveSource::Targeted => directives.lifetime(),
            DirectiveSource::CacheControl => directives
                .lifetime()
                .or_else(|| expires(headers, dated, received_at)),
        };
        let basis = match lifetime {
            Some(_) => LifetimeBasis::Stated,
            None => LifetimeBasis::Guessed,
        };
        let lifetime = lifetime
            .or_else(|| heuristic(status, headers, directives, dated.unwrap_or(received_at)));
        StoredFreshness {
            received_at,
            initial_age: apparent.max(age(headers).saturating_add(delay)),
            lifetime: match directives.has(Directive::NoCache) {
                true => Duration::ZERO,
                false => lifetime.unwrap_or_default(),
            },
            basis,
            stale_while_revalidate: directives.stale_while_revalidate.unwrap_or_default(),
            stale_if_error: directives.stale_if_error.unwrap_or_default(),
        }
    }

    /// The age; a wall clock that has been set back does not make it younger than it was when it arrived.
    pub(super) fn age(&self, now: Duration) -> Duration {
        self.initial_age
            .saturating_add(now.saturating_sub(self.received_at))
    }

    /// How long it stays fresh; zero if it is stale.
    pub(super) fn fresh_for(&self, now: Duration) -> Duration {
        self.lifetime.saturating_sub(self.age(now))
    }

    /// Whether a response like this one could be shared that arrives at `now`.
    pub(super) fn sharing(&self, now: Duration) -> Shareability {
        match (self.is_fresh(now), self.lifetime.is_zero()) {
            (true, _) => Shareability::Possible,
            (false, false) => Shareability::NotNow,
            (false, true) => Shareability::Impossible,
        }
    }

    pub(super) fn is_fresh(&self, now: Duration) -> bool {
        self.lifetime > self.age(now)
    }

    /// How long it has been stale; zero while it is fresh.
    pub(super) fn stale_for(&self, now: Duration) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }

    /// Whether it can be served at all without being validated.
    pub(super) fn is_usable(&self, now: Duration) -> bool {
        let stale_for = self.stale_for(now);
        self.is_fresh(now)
            || stale_for < self.stale_while_revalidate
            || stale_for < self.stale_if_error
    }
}

/// The lifetime of a response that states none.
fn heuristic(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    dated: Duration,
) -> Option<Duration> {
    if !is_heuristically_cacheable(status) && !directives.has(Directive::Public) {
        return None;
    }
    let modified = date(headers, &header::LAST_MODIFIED)?;
    let lifetime = dated.saturating_sub(modified) / HEURISTIC_DIVISOR;
    Some(lifetime.min(HEURISTIC_MAX))
}

/// RFC 9110, section 15.1; without 206, which is not stored.
pub(super) fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}
