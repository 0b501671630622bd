//! The HTTP cache (RFC 9111) in the pipeline: looks up a request, and decides what becomes of the backend's response.
//!
//! A stored response that is fresh serves the request. One that is stale, or that the client wants to be validated, is
//! sent along as a condition: if the backend responds with 304, the stored response is updated and served. If the backend
//! fails, a stale one is served where it allows that (`stale-if-error`). Any other response is forwarded, and stored
//! while it is delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode};

use super::cache_copy;
use super::coalesce;
use super::reused::Reused;
use super::routing::{forwarded_host, query, set_cache_status};
use super::upstream::Upstream;
use super::{ResponseSource, Stop};
use crate::backend::request_head::{HeaderFilter, is_set_by_weir};
use crate::cache::flight::{Lead, MayLead};
use crate::cache::http::{
    ForwardReason, HitKind, HttpCache, HttpHead, HttpLookup, HttpRequest, ReceiptTimes, RequestKey,
    ResourceName, Shareability, StoredVariant, Validators,
};
use crate::cache::status::CacheStatus;
use crate::cache::{CacheKey, Scope};
use crate::clock;
use crate::exchange::{BypassReason, CacheNote, CacheOutcome, CacheTier, Exchange};
use crate::generation::pipeline::RoutePipeline;
use crate::http::response_body::ResponseBody;
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};

/// What the cache stage found.
pub(super) enum Found {
    Serve(Reused),
    /// A stale response; it is to be revalidated in the background.
    ServeStale(Reused, Box<HttpFetch>),
    /// The request is forwarded; with what the cache does with the response, if anything.
    Forward(Option<Box<HttpFetch>>),
}

/// What the cache does with the response to a request that is forwarded.
pub(super) struct HttpFetch {
    cache: Arc<HttpCache>,
    step: FetchStep,
    /// The equal requests that share the response.
    lead: Option<HttpLead>,
}

/// The leader of equal requests for a response of the HTTP cache.
pub(super) type HttpLead = Lead<HttpHead>;

enum FetchStep {
    /// The response may be stored.
    Store {
        request_key: RequestKey,
        reason: ForwardReason,
        /// The stored response that the request selects; it cannot be used as it is.
        stored: Option<Arc<StoredVariant>>,
    },
    /// A successful response invalidates what is stored.
    Invalidate,
}

impl HttpFetch {
    /// What the backend is asked to validate.
    pub(super) fn validators(&self) -> Option<&Validators> {
        match &self.step {
            FetchStep::Store {
                stored: Some(stored),
                ..
            } => Some(stored.validators()).filter(|validators| !validators.is_empty()),
            FetchStep::Store { .. } | FetchStep::Invalidate => None,
        }
    }

    /// The key of equal requests in flight, if there may be any, and whether this one may lead them.
    pub(super) fn flight(&self, now: Duration) -> Option<(CacheKey, MayLead)> {
        match &self.step {
            FetchStep::Store { request_key, .. } => self.cache.flight(request_key, now),
            FetchStep::Invalidate => None,
        }
    }

    /// This request leads others.
    pub(super) fn set_lead(&mut self, lead: HttpLead) {
        self.lead = Some(lead);
    }

    pub(super) fn take_lead(&mut self) -> Option<HttpLead> {
        self.lead.take()
    }

    /// Whether the response with this head serves the request, which has been waiting for it.
    pub(super) fn is_served_by(&self, head: &HttpHead, request: &HeaderMap) -> bool {
        match &self.step {
            FetchStep::Store { request_key, .. } => self.cache.serves(head, request, request_key),
            FetchStep::Invalidate => false,
        }
    }

    /// What has arrived is not, or not any longer, waited for: those that follow find it in the cache, or go on alone.
    /// Whether it can be shared is remembered, so that the next ones wait only for what can.
    pub(super) fn settle(&mut self, sharing: Shareability, now: Duration) {
        if let Some(mut lead) = self.lead.take() {
            match sharing {
                Shareability::Possible => lead.stored(),
                Shareability::NotNow | Shareability::Impossible => lead.set_apart(),
            }
        }
        if let FetchStep::Store { request_key, .. } = &self.step {
            self.cache.note_sharing(request_key, sharing, now);
        }
    }

    /// Where and how the response may be stored.
    pub(super) fn storing(&self) -> Option<(&HttpCache, &RequestKey, ForwardReason)> {
        match &self.step {
            FetchStep::Store {
                request_key,
                reason,
                ..
            } => Some((&self.cache, request_key, *reason)),
            FetchStep::Invalidate => None,
        }
    }

    /// The stored response that is to be revalidated, unless another request does that.
    pub(super) fn begin_revalidation(&self) -> Option<Revalidation> {
        match &self.step {
            FetchStep::Store {
                stored: Some(stored),
                ..
            } => stored
                .begin_revalidation()
                .then(|| Revalidation(stored.clone())),
            FetchStep::Store { .. } | FetchStep::Invalidate => None,
        }
    }
}

/// While it lives, no other request revalidates the stored response.
pub(super) struct Revalidation(Arc<StoredVariant>);

impl Drop for Revalidation {
    fn drop(&mut self) {
        self.0.end_revalidation();
    }
}

/// Looks up a request without a body at `now` (since the Unix epoch), and records the result.
///
/// # Errors
/// The client accepts a stored response only, and there is none.
pub(super) fn look_up(
    cache: &Arc<HttpCache>,
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &mut Exchange,
    now: Duration,
) -> Result<Found, Stop> {
    let found = with_request(pipeline, session, exchange, |request| {
        cache.look_up(request, now)
    });
    let (outcome, status) = match &found {
        HttpLookup::Hit(_, _, HitKind::Fresh) => (CacheOutcome::Hit, CacheStatus::Hit),
        HttpLookup::Hit(..) | HttpLookup::Revalidate(..) => {
            (CacheOutcome::Hit, CacheStatus::StaleHit)
        }
        HttpLookup::Forward(_, reason, _) => match reason {
            ForwardReason::Miss => (CacheOutcome::Miss, CacheStatus::Miss),
            ForwardReason::VaryMiss => (CacheOutcome::Miss, CacheStatus::VaryMiss),
            ForwardReason::Stale => (CacheOutcome::Miss, CacheStatus::Stale),
            ForwardReason::Request => (CacheOutcome::Bypass, CacheStatus::Refresh),
        },
        HttpLookup::NotCached => (CacheOutcome::Miss, CacheStatus::Miss),
        HttpLookup::Bypass(BypassReason::Method) | HttpLookup::Unsafe => {
            (CacheOutcome::Bypass, CacheStatus::Method)
        }
        HttpLookup::Bypass(_) => (CacheOutcome::Bypass, CacheStatus::Bypass),
    };
    let reused = match &found {
        HttpLookup::Hit(_, response, _) | HttpLookup::Revalidate(_, response) => {
            Some(Reused::new(response.clone(), now))
        }
        _ => None,
    };
    exchange.cache = Some(CacheNote {
        outcome,
        tier: match reused {
            Some(_) => CacheTier::Memory,
            None => CacheTier::None,
        },
        age_s: reused.as_ref().map_or(0, Reused::age_s),
        key: found.key(),
        bypass: found.bypass(),
    });
    set_cache_status(exchange, status);
    let fetch = |step| {
        let cache = cache.clone();
        let lead = None;
        Box::new(HttpFetch { cache, step, lead })
    };
    match (found, reused) {
        (HttpLookup::Hit(..), Some(reused)) => Ok(Found::Serve(reused)),
        (HttpLookup::Revalidate(request_key, stored), Some(reused)) => {
            let fetch = fetch(FetchStep::Store {
                request_key,
                reason: ForwardReason::Stale,
                stored: Some(stored),
            });
            Ok(Found::ServeStale(reused, fetch))
        }
        (HttpLookup::Hit(..) | HttpLookup::Revalidate(..) | HttpLookup::Bypass(_), _) => {
            Ok(Found::Forward(None))
        }
        (HttpLookup::Forward(request_key, reason, stored), _) => {
            Ok(Found::Forward(Some(fetch(FetchStep::Store {
                request_key,
                reason,
                stored,
            }))))
        }
        (HttpLookup::Unsafe, _) => Ok(Found::Forward(Some(fetch(FetchStep::Invalidate)))),
        (HttpLookup::NotCached, _) => {
            let detail = "the request has `only-if-cached`, and no stored response may be used";
            Err(Refusal::new(ErrorCode::NotCached, detail).into())
        }
    }
}

/// Notes that a request is not one for the cache.
pub(super) fn bypass(exchange: &mut Exchange) {
    exchange.cache = Some(CacheNote {
        outcome: CacheOutcome::Bypass,
        tier: CacheTier::None,
        age_s: 0,
        key: None,
        bypass: Some(BypassReason::Body),
    });
    set_cache_status(exchange, CacheStatus::Bypass);
}

/// Calls `used` with the request as the cache sees it.
pub(super) fn with_request<R>(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
    used: impl FnOnce(&HttpRequest<'_>) -> R,
) -> R {
    let head = session.head();
    let name = exchange.client_name.as_deref();
    let scope = pipeline.config.http_cache.map(|config| config.scope);
    let is_of_address = name.is_none() && scope == Some(Scope::Client);
    let address = is_of_address.then(|| exchange.client_ip.to_string());
    let (stripped, _) = pipeline.signature_headers(exchange);
    let filter = HeaderFilter::new(&head.headers, stripped, pipeline.backend.config());
    used(&HttpRequest {
        method: &head.method,
        name: ResourceName {
            scheme: exchange.scheme,
            host: forwarded_host(head, exchange).map_or(&[][..], HeaderValue::as_bytes),
            path: &exchange.path,
            query: query(&head.uri),
            client: name.or(address.as_deref()).unwrap_or_default(),
        },
        headers: &head.headers,
        is_forwarded: &|name| filter.forwards(name),
        is_replaced: is_set_by_weir,
    })
}

/// Decides what the client gets, once the head of the backend's response has arrived.
pub(super) fn of_response(
    session: &Session,
    exchange: &mut Exchange,
    mut upstream: Box<Upstream>,
    mut fetch: Box<HttpFetch>,
) -> ResponseSource {
    let now = clock::now();
    let head = &upstream.response.head;
    let status = head.status;
    // Another backend may respond differently: its response is not stored for this one.
    if !upstream.is_of_route() {
        fetch.settle(Shareability::NotNow, exchange.at(now));
        return ResponseSource::Upstream(upstream, None);
    }
    let reused = match &fetch.step {
        FetchStep::Invalidate => {
            with_request(&upstream.pipeline, session, exchange, |request| {
                let cache = &fetch.cache;
                cache.invalidate_after(request, status, &head.headers);
            });
            None
        }
        FetchStep::Store {
            request_key,
            reason,
            stored: Some(stored),
        } => match status {
            StatusCode::NOT_MODIFIED if fetch.validators().is_some() => {
                let times = times(exchange, upstream.started_at, now);
                let key = &request_key.key;
                let updated = fetch.cache.freshen(key, stored, &head.headers, times);
                Some((
                    updated,
                    match reason {
                        ForwardReason::Request => CacheStatus::RefreshValidated,
                        _ => CacheStatus::Validated,
                    },
                ))
            }
            status if is_failure(status) && stored.serves_errors(exchange.at(now)) => {
                Some((stored.clone(), CacheStatus::StaleIfError))
            }
            _ => None,
        },
        FetchStep::Store { stored: None, .. } => None,
    };
    let Some((response, cache_status)) = reused else {
        return ResponseSource::Upstream(upstream, Some(fetch));
    };
    if cache_status == CacheStatus::StaleIfError {
        // A backend that fails gets two more requests of a herd, not all of them: they have a stale response, too.
        if let Some(mut lead) = fetch.take_lead() {
            cache_copy::decline(&mut lead, exchange, &upstream.response.head);
        }
    } else {
        fetch.settle(response.sharing(exchange.at(now)), exchange.at(now));
    }
    if let Some(attempt) = exchange.attempt() {
        attempt.succeed(now);
    }
    // A 304 has no body: its connection is reused.
    upstream.response.body.is_at_end(now);
    upstream.report(exchange);
    ResponseSource::Reused(serve(exchange, response, cache_status, now))
}

/// Decides what the client gets if no backend has responded.
///
/// # Errors
/// There is no stored response that may be served instead.
pub(super) fn of_failure(
    fetch: Option<Box<HttpFetch>>,
    exchange: &mut Exchange,
    stop: Stop,
) -> Result<Reused, Stop> {
    let Some(mut fetch) = fetch else {
        return Err(stop);
    };
    coalesce::fail(fetch.take_lead(), &stop);
    let now = clock::now();
    match (&stop, fetch.step) {
        (
            Stop::Refused(refusal),
            FetchStep::Store {
                stored: Some(stored),
                ..
            },
        ) if refusal.code.status().is_server_error() && stored.serves_errors(exchange.at(now)) => {
            Ok(serve(exchange, stored, CacheStatus::StaleIfError, now))
        }
        _ => Err(stop),
    }
}

/// RFC 5861, section 4.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn serve(
    exchange: &mut Exchange,
    response: Arc<StoredVariant>,
    status: CacheStatus,
    now: Instant,
) -> Reused {
    exchange.error_code = None;
    set_cache_status(exchange, status);
    Reused::new(response, exchange.at(now))
}

pub(super) fn times(exchange: &Exchange, asked_at: Instant, received_at: Instant) -> ReceiptTimes {
    ReceiptTimes {
        asked_at: exchange.at(asked_at),
        received_at: exchange.at(received_at),
    }
}
