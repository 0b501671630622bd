//! Which requests share a response that is on its way (request coalescing).
//!
//! A `GET` for the whole response leads those that come after it. One with a condition or a range of its own only follows:
//! its own response may be a 304 or a part, of no use to others, but the whole serves it, too.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::super::CacheKey;
use super::super::flight::{Flights, MayLead};
use super::freshness::Shareability;
use super::lookup::{FlightKey, MayStore, RequestKey};
use super::request::ConditionsSent;
use super::shared::HttpHead;
use super::store::StoredVariant;
use super::{HttpCache, HttpRequest, key};

impl HttpCache {
    /// The key of a request that is forwarded, with that of its flight.
    pub(super) fn shared(
        &self,
        request_key: RequestKey,
        request: &HttpRequest<'_>,
        (known, sent): (Option<&StoredVariant>, ConditionsSent),
    ) -> RequestKey {
        let may_follow = self.flights.is_some() && request_key.storing == MayStore::Yes;
        let may_lead = may_follow
            .then(|| may_lead(request.headers, sent))
            .flatten();
        let flight = may_lead.map(|may_lead| {
            let credentials = request_key.credentials;
            let known = known.map(|stored| stored.variant());
            let key = key::of_flight(&request_key.key, credentials, known, request.headers);
            FlightKey { key, may_lead }
        });
        RequestKey {
            flight,
            ..request_key
        }
    }

    /// The key of the requests in flight that are equal to a request, unless their last response could not be shared; and
    /// whether it may lead them.
    #[must_use]
    pub fn flight(&self, request_key: &RequestKey, now: Duration) -> Option<(CacheKey, MayLead)> {
        let FlightKey { key, may_lead } = request_key.flight?;
        let is_shared = self.predictor.expects_sharing(&key, now);
        is_shared.then_some((key, may_lead))
    }

    /// The requests in flight; `None` without request coalescing.
    #[must_use]
    pub fn flights(&self) -> Option<&Flights<HttpHead>> {
        self.flights.as_ref()
    }

    /// Whether the response with this head serves a request that has been waiting for it.
    #[must_use]
    pub fn serves(&self, head: &HttpHead, request: &HeaderMap, request_key: &RequestKey) -> bool {
        head.serves(request, request_key.credentials)
    }

    /// Remembers whether the response to a request could be shared. One to a request that may not lead proves nothing
    /// where it could not: a 304 is for its client only.
    pub fn note_sharing(&self, request_key: &RequestKey, is_shared: Shareability, now: Duration) {
        let Some(FlightKey { key, may_lead }) = request_key.flight else {
            return;
        };
        match (is_shared, may_lead) {
            (Shareability::Possible, _) => self.predictor.forget(&key),
            (Shareability::Impossible, MayLead::Yes) => self.predictor.remember(key, now),
            (Shareability::Impossible, MayLead::No) | (Shareability::NotNow, _) => {}
        }
    }
}

/// Whether a request with these headers may lead equal ones; `None` if it does not even follow them: the backend decides
/// whether it fails.
fn may_lead(headers: &HeaderMap, sent: ConditionsSent) -> Option<MayLead> {
    let has = |name: HeaderName| headers.contains_key(name);
    if has(header::IF_MATCH) || has(header::IF_UNMODIFIED_SINCE) {
        return None;
    }
    let is_for_part =
        has(header::RANGE) || has(header::IF_NONE_MATCH) || has(header::IF_MODIFIED_SINCE);
    Some(match sent == ConditionsSent::Replaced || !is_for_part {
        true => MayLead::Yes,
        false => MayLead::No,
    })
}
