//! The HTTP cache (RFC 9111) in the pipeline: looks up a request, and decides what becomes of the backend's response.
//!
//! A stored response that is fresh serves the request. One that is stale, or that the client wants to be validated, is
//! sent along as a condition: if the backend responds with 304, the stored response is updated and served. If the backend
//! fails, a stale one is served where it allows that (`stale-if-error`). Any other response is forwarded, and stored
//! while it is delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::routing::{add_header, forwarded_host, query, replace_header};
use super::upstream::Upstream;
use super::{ResponseSource, Stop};
use crate::answer::ResponseOutcome;
use crate::answer::copying::{CopyStored, ResponseCopy};
use crate::answer::reused::{self, Content, ReusedResponse};
use crate::backend::request_head::{HeaderFilter, is_set_by_weir};
use crate::cache::http::{
    ForwardReason, HitKind, HttpCache, HttpCopy, HttpRequest, Lookup, ReceiptTimes, RequestKey,
    ResourceName, Served, StoredResponse, Validators,
};
use crate::cache::status::CacheStatus;
use crate::clock;
use crate::exchange::{CacheNote, CacheOutcome, CacheTier, Exchange};
use crate::generation::pipeline::RoutePipeline;
use crate::http::response_body::ResponseBody;
use crate::http::session::Session;
use crate::refusal::{ErrorCode, Refusal};

/// What the cache stage found.
pub(super) enum Found {
    Serve(Box<Reused>),
    /// The request is forwarded; with what the cache does with the response, if anything.
    Forward(Option<Box<HttpFetch>>),
}

/// A stored response that serves a request.
pub(super) struct Reused {
    response: Arc<StoredResponse>,
    age_s: u64,
}

/// What the cache does with the response to a request that is forwarded.
pub(super) struct HttpFetch {
    cache: Arc<HttpCache>,
    step: Step,
}

enum Step {
    /// The response may be stored.
    Store {
        request_key: RequestKey,
        reason: ForwardReason,
        /// The stored response that the request selects; it cannot be used as it is.
        stored: Option<Arc<StoredResponse>>,
    },
    /// A successful response invalidates what is stored.
    Invalidate,
}

impl HttpFetch {
    /// What the backend is asked to validate.
    pub(super) fn validators(&self) -> Option<&Validators> {
        match &self.step {
            Step::Store {
                stored: Some(stored),
                ..
            } => Some(&stored.validators).filter(|validators| !validators.is_empty()),
            Step::Store { .. } | Step::Invalidate => None,
        }
    }
}

/// Looks up a request without a body, and records the result.
///
/// # Errors
/// The client accepts a stored response only, and there is none.
pub(super) fn look_up(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &mut Exchange,
) -> Result<Found, Stop> {
    let Some(cache) = &pipeline.http_cache else {
        return Ok(Found::Forward(None));
    };
    let now = exchange.received_at;
    let found = with_request(pipeline, session, exchange, |request| {
        cache.look_up(request, now)
    });
    let (outcome, status) = match &found {
        Lookup::Hit(_, HitKind::Fresh) => (CacheOutcome::Hit, CacheStatus::Hit),
        Lookup::Hit(..) => (CacheOutcome::Hit, CacheStatus::StaleHit),
        Lookup::Forward(_, reason, _) => match reason {
            ForwardReason::Miss => (CacheOutcome::Miss, CacheStatus::Miss),
            ForwardReason::VaryMiss => (CacheOutcome::Miss, CacheStatus::VaryMiss),
            ForwardReason::Stale => (CacheOutcome::Miss, CacheStatus::Stale),
            ForwardReason::Request => (CacheOutcome::Bypass, CacheStatus::Refresh),
        },
        Lookup::NotCached => (CacheOutcome::Miss, CacheStatus::Miss),
        Lookup::Bypass => (CacheOutcome::Bypass, CacheStatus::Bypass),
        Lookup::Unsafe => (CacheOutcome::Bypass, CacheStatus::Method),
    };
    let reused = match &found {
        Lookup::Hit(response, _) => Some(Reused::new(response.clone(), now)),
        _ => None,
    };
    exchange.cache = Some(CacheNote {
        outcome,
        tier: match reused {
            Some(_) => CacheTier::Memory,
            None => CacheTier::None,
        },
        age_s: reused.as_ref().map_or(0, |reused| reused.age_s),
    });
    add_header(exchange, "cache-status", status.header());
    let fetch = |step| {
        let cache = cache.clone();
        Ok(Found::Forward(Some(Box::new(HttpFetch { cache, step }))))
    };
    match (found, reused) {
        (Lookup::Hit(..), Some(reused)) => Ok(Found::Serve(Box::new(reused))),
        (Lookup::Hit(..) | Lookup::Bypass, _) => Ok(Found::Forward(None)),
        (Lookup::Forward(request_key, reason, stored), _) => fetch(Step::Store {
            request_key,
            reason,
            stored,
        }),
        (Lookup::Unsafe, _) => fetch(Step::Invalidate),
        (Lookup::NotCached, _) => {
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
    });
    add_header(exchange, "cache-status", CacheStatus::Bypass.header());
}

/// Calls `used` with the request as the cache sees it.
fn with_request<R>(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
    used: impl FnOnce(&HttpRequest<'_>) -> R,
) -> R {
    let head = session.head();
    let name = exchange.client_name.as_deref();
    let address = name.is_none().then(|| exchange.client_ip.to_string());
    let (stripped, _) = pipeline.signature_headers(exchange);
    let filter = HeaderFilter::new(&head.headers, stripped, pipeline.backend.config());
    used(&HttpRequest {
        method: &head.method,
        name: ResourceName {
            scheme: exchange.scheme,
            host: forwarded_host(head, exchange).map_or(&[], HeaderValue::as_bytes),
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
    mut upstream: Upstream,
) -> ResponseSource {
    let Some(fetch) = &upstream.fetch else {
        return ResponseSource::Upstream(upstream);
    };
    let now = clock::now();
    let head = &upstream.response.head;
    let status = head.status;
    let reused = match &fetch.step {
        Step::Invalidate => {
            with_request(&upstream.pipeline, session, exchange, |request| {
                let cache = &fetch.cache;
                cache.invalidate_after(&request.name, status, &head.headers);
            });
            None
        }
        Step::Store {
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
        Step::Store { stored: None, .. } => None,
    };
    let Some((response, cache_status)) = reused else {
        return ResponseSource::Upstream(upstream);
    };
    if let Some(attempt) = exchange.attempt() {
        attempt.succeed(now);
    }
    // A 304 has no body: its connection is reused.
    upstream.response.body.is_at_end(now);
    upstream.report(exchange);
    serve(exchange, response, cache_status, now)
}

/// Decides what the client gets if no backend has responded.
///
/// # Errors
/// There is no stored response that may be served instead.
pub(super) fn of_failure(
    fetch: Option<Box<HttpFetch>>,
    exchange: &mut Exchange,
    stop: Stop,
) -> Result<ResponseSource, Stop> {
    let Some(fetch) = fetch else {
        return Err(stop);
    };
    let now = clock::now();
    match (&stop, fetch.step) {
        (
            Stop::Refused(refusal),
            Step::Store {
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
    response: Arc<StoredResponse>,
    status: CacheStatus,
    now: Instant,
) -> ResponseSource {
    exchange.error_code = None;
    replace_header(exchange, "cache-status", status.header());
    let reused = Reused::new(response, exchange.at(now));
    ResponseSource::Reused(Box::new(reused))
}

fn times(exchange: &Exchange, asked_at: Instant, received_at: Instant) -> ReceiptTimes {
    ReceiptTimes {
        asked_at: exchange.at(asked_at),
        received_at: exchange.at(received_at),
    }
}

impl Reused {
    fn new(response: Arc<StoredResponse>, now: Duration) -> Self {
        Reused {
            age_s: response.age_s(now),
            response,
        }
    }
}

/// Delivers a stored response, or the part of it that the request asks for.
pub(super) async fn deliver(
    session: &mut Session,
    exchange: &mut Exchange,
    reused: &Reused,
) -> ResponseOutcome {
    let stored = &*reused.response;
    if stored.status.is_server_error() {
        exchange.error_code = Some(ErrorCode::UpstreamStatus);
    }
    let head = session.head();
    let served = Served::of(&head.headers, stored, &head.method);
    let length = stored.body.len();
    let (status, lines, content) = match &served {
        Served::Whole if stored.status == StatusCode::NO_CONTENT => {
            (stored.status, stored.head_lines(), Content::None)
        }
        Served::Whole => (stored.status, stored.head_lines(), Content::Whole),
        Served::Part(part) => {
            let first = part.start;
            let content = Content::Part { first, length };
            (StatusCode::PARTIAL_CONTENT, stored.head_lines(), content)
        }
        Served::NotModified(lines) => (StatusCode::NOT_MODIFIED, &lines[..], Content::None),
        Served::RangeNotSatisfiable => {
            let content = Content::OutOfRange { length };
            (StatusCode::RANGE_NOT_SATISFIABLE, &[][..], content)
        }
    };
    let response = ReusedResponse {
        status,
        head_lines: lines,
        age_s: reused.age_s,
        content,
        body: served.body(stored),
    };
    reused::write(session, exchange, response).await
}

/// The copy of a response for the HTTP cache.
pub(super) struct HttpCacheCopy<'a> {
    copy: HttpCopy,
    cache: &'a HttpCache,
    request_key: RequestKey,
}

impl<'a> HttpCacheCopy<'a> {
    /// An empty copy, if request and response allow storing one; the head arrived at `now`.
    pub(super) fn of(
        session: &Session,
        exchange: &Exchange,
        upstream: &Upstream,
        fetch: &'a HttpFetch,
        now: Instant,
    ) -> Option<Self> {
        let Step::Store { request_key, .. } = &fetch.step else {
            return None;
        };
        let times = times(exchange, upstream.started_at, now);
        let head = &upstream.response.head;
        let cache = &*fetch.cache;
        let copy = with_request(&upstream.pipeline, session, exchange, |request| {
            cache.copy(request, request_key, head.status, &head.headers, times)
        });
        match copy {
            Ok(copy) => Some(HttpCacheCopy {
                copy,
                cache,
                request_key: *request_key,
            }),
            Err(reason) => {
                log::debug!("a response is not stored: {reason:?}");
                None
            }
        }
    }
}

impl ResponseCopy for HttpCacheCopy<'_> {
    fn push(&mut self, piece: &Bytes) {
        self.copy.push(piece);
    }

    fn ends_with(&self, _end: &[u8]) -> bool {
        false
    }

    fn store(&mut self, _stored_at: Duration) -> CopyStored {
        match self.copy.finish() {
            Some(stored) => {
                self.cache.store(&self.request_key.key, stored);
                CopyStored::Yes
            }
            None => CopyStored::No,
        }
    }

    fn remove(&mut self) {
        self.cache.invalidate(&self.request_key.key);
    }
}

/// The `Cache-Status` of a forwarded response that has been stored.
pub(super) fn stored_status(fetch: &HttpFetch) -> Option<CacheStatus> {
    let Step::Store { reason, .. } = &fetch.step else {
        return None;
    };
    Some(match reason {
        ForwardReason::Miss => CacheStatus::MissStored,
        ForwardReason::VaryMiss => CacheStatus::VaryMissStored,
        ForwardReason::Stale => CacheStatus::StaleStored,
        ForwardReason::Request => CacheStatus::RefreshStored,
    })
}
