//! The signature and limit stages of the gateway, and what the cache stage does in memory: its decision and a lookup.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::routing::{add_header, forwarded_host, query, set_cache_status};
use super::{Stop, redis_lookup};
use crate::backend::request_head::HeaderFilter;
use crate::cache::status::CacheStatus;
use crate::cache::{CacheDecision, CacheRequest, CachedResponse, PathMatch};
use crate::clock;
use crate::exchange::{
    CacheNote, CacheOutcome, CacheTier, Exchange, LimitOutcome, SignatureNote, SignatureOutcome,
    Stage,
};
use crate::generation::pipeline::RoutePipeline;
use crate::http::budgeted_reader::BudgetedReader;
use crate::http::session::Session;
use crate::limit::concurrency::Permit;
use crate::limit::{self, Decision, QuotaStatus, Subject, retry_after_s};
use crate::model::json::IgnoreAll;
use crate::refusal::{ErrorCode, Refusal};
use crate::route::PathPattern;
use crate::signature::Request;
use crate::signature::delivery::{Claim, Delivery, Fate, Repeat};
use crate::units;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Checks the limits by address, before any of the body is read.
pub(super) async fn check_address_limits(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<(), Refusal> {
    if !pipeline.limits.any_by_address() {
        return Ok(());
    }
    let deadline = exchange.timing.lap_started() + limit::WAIT_MAX;
    let subject = subject(session, exchange);
    let decision = pipeline.limits.admit_address(&subject, deadline).await;
    apply_limit(pipeline, exchange, decision)
}

/// Checks all other limits.
pub(super) async fn check_rate_limits(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<(), Refusal> {
    let deadline = exchange.timing.lap_started() + limit::WAIT_MAX;
    let subject = subject(session, exchange);
    let decision = pipeline.limits.admit(&subject, deadline).await;
    apply_limit(pipeline, exchange, decision)
}

fn subject<'a>(session: &'a Session, exchange: &'a Exchange) -> Subject<'a> {
    Subject {
        address: exchange.client_ip,
        client: exchange.client_name.as_deref(),
        platform: &exchange.platform,
        headers: &session.head().headers,
    }
}

/// Reports the decision in the response headers and the exchange. Of several limits, the one that is closest
/// to its quota is reported, or the one that rejected the request.
fn apply_limit(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    decision: Decision,
) -> Result<(), Refusal> {
    let (status, refusal) = match decision {
        Decision::Admitted(later) => {
            let earlier = exchange.limit.as_ref().map(QuotaStatus::noted);
            (QuotaStatus::nearer(earlier, later), None)
        }
        Decision::Limited {
            status,
            retry_after,
        } => {
            let detail = format!("rate limit \"{}\" is exceeded", status.policy);
            let refusal = Refusal::new(ErrorCode::RateLimited, detail);
            let refusal = refusal.retry_after(retry_after_s(retry_after));
            (Some(status), Some(refusal))
        }
    };
    let Some(status) = status else {
        return Ok(());
    };
    let outcome = match refusal {
        None => LimitOutcome::Admitted,
        Some(_) => LimitOutcome::Limited,
    };
    exchange
        .response_headers
        .retain(|(name, _)| !name.as_str().starts_with("ratelimit"));
    if let Some(policy) = pipeline.limits.policy_header() {
        add_header(exchange, RATELIMIT_POLICY, policy.clone());
    }
    add_header(exchange, RATELIMIT, status.header());
    exchange.limit = Some(status.note(outcome));
    refusal.map_or(Ok(()), Err)
}

/// Acquires a permit of the route's concurrency limit.
pub(super) fn take_permit(pipeline: &RoutePipeline) -> Result<Option<Permit>, Refusal> {
    let Some(concurrency) = &pipeline.concurrency else {
        return Ok(None);
    };
    match concurrency.try_enter() {
        Some(permit) => Ok(Some(permit)),
        None => {
            let detail = format!("route {} is at its concurrency limit", pipeline.config.name);
            Err(Refusal::new(ErrorCode::OverCapacity, detail).retry_after(1))
        }
    }
}

/// Verifies the signature over the raw bytes, then checks and records what identifies the request. A repeated
/// delivery waits here for the outcome of the first. If the platform repeats deliveries until they are acknowledged,
/// the delivery is returned: this request then decides its outcome.
pub(super) async fn verify(
    pipeline: &RoutePipeline,
    session: &mut Session,
    exchange: &mut Exchange,
    body: &[u8],
) -> Result<Option<Delivery>, Stop> {
    let Some(verifier) = &pipeline.verifier else {
        return Ok(None);
    };
    let head = session.head();
    let checked = verifier.verify(
        &Request {
            method: &head.method,
            path: &exchange.path,
            query: query(&head.uri),
            headers: &head.headers,
            body,
        },
        exchange.received_at,
    );
    let verdict = checked.check_and_insert(exchange.received_at).await;
    let note = |outcome| SignatureNote {
        scheme: verdict.scheme,
        outcome,
        key: verdict.key,
    };
    exchange.signature = Some(note(verdict.outcome));
    exchange.client_name = verdict.client;
    let code = match verdict.outcome {
        SignatureOutcome::Valid => return Ok(verdict.delivery),
        SignatureOutcome::Handshake | SignatureOutcome::Duplicate => {
            if let Some(repeat) = verdict.repeat {
                let retried = Box::pin(outcome_of_first(session, exchange, repeat)).await?;
                if let Some(delivery) = retried {
                    exchange.signature = Some(note(SignatureOutcome::Valid));
                    return Ok(Some(delivery));
                }
            }
            return Err(match verdict.response {
                Some(response) => Stop::Platform(response),
                None => Refusal::new(
                    ErrorCode::Internal,
                    "the response to the platform is missing",
                )
                .into(),
            });
        }
        SignatureOutcome::Missing => ErrorCode::SignatureMissing,
        SignatureOutcome::Invalid => ErrorCode::SignatureInvalid,
        SignatureOutcome::Expired => ErrorCode::SignatureExpired,
        SignatureOutcome::Replayed => ErrorCode::SignatureReplayed,
    };
    let mut refusal = Refusal::new(code, verdict.detail);
    refusal.title = verdict.title;
    refusal.challenge = Some(Box::new(verifier.challenge().clone()));
    Err(refusal.into())
}

/// Waits for the outcome of a delivery that another request is processing. If there is none before the platform
/// would give up on this redelivery, it is rejected with `delivery_pending`. If the delivery failed, one of the
/// waiting requests takes it over. Returns `None` if it was acknowledged.
async fn outcome_of_first(
    session: &mut Session,
    exchange: &mut Exchange,
    mut repeat: Repeat,
) -> Result<Option<Delivery>, Stop> {
    let within = repeat.respond_within();
    let until = exchange.timing.started() + within;
    // This is time of the backend.
    exchange.timing.enter(Stage::Backend, clock::now());
    let delivery = loop {
        let fate = tokio::select! {
            biased;
            fate = repeat.decided() => fate,
            () = session.client_left() => return Err(Stop::ClientLeft),
            () = tokio::time::sleep_until(until.into()) => return Err(pending(within).into()),
        };
        if fate == Fate::Accepted {
            break None;
        }
        match repeat.again(clock::unix_now()).await {
            Claim::First(delivery) => break Some(delivery),
            Claim::InProgress(next) => repeat = next,
            Claim::Accepted => break None,
        }
    };
    exchange.timing.enter(Stage::Signature, clock::now());
    Ok(delivery)
}

fn pending(within: Duration) -> Refusal {
    let waited = units::shown(within);
    let detail = format!("the same delivery is still being processed after {waited}");
    Refusal::new(ErrorCode::DeliveryPending, detail).retry_after(retry_after_s(within))
}

/// The result of a cache lookup.
pub(super) enum Lookup {
    /// A stored response, and its age in seconds.
    Hit(Arc<CachedResponse>, u64),
    /// No stored response is used. Whether, and under which key, the backend's response may be stored.
    Miss(CacheDecision),
}

/// Decides from the head and body of a buffered request what the cache may do; `reader` reads the body in
/// the same pass, if there is one. `None` if the cache is not involved.
pub(super) fn decide(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
    body: Option<&[u8]>,
    reader: Option<&mut BudgetedReader>,
) -> Option<CacheDecision> {
    let (cache, body) = (pipeline.cache.as_ref()?, body?);
    let head = session.head();
    let address = exchange
        .client_name
        .is_none()
        .then(|| match &pipeline.redis_tier {
            Some(tier) => redis_lookup::client(exchange.client_ip, tier.host()),
            None => exchange.client_ip.to_string(),
        });
    let client = exchange
        .client_name
        .as_deref()
        .or(address.as_deref())
        .unwrap_or_default();
    let (stripped, verified) = pipeline.signature_headers(exchange);
    let filter = HeaderFilter::new(&head.headers, stripped, pipeline.backend.config());
    let path_match = match &pipeline.config.matching.path {
        PathPattern::Exact(path) if **path == *exchange.path => PathMatch::Exact,
        PathPattern::Exact(_) | PathPattern::Prefix(_) => PathMatch::Wildcard,
    };
    let request = CacheRequest {
        method: &head.method,
        path: &exchange.path,
        query: query(&head.uri),
        host: forwarded_host(head, exchange).map_or(&[], HeaderValue::as_bytes),
        headers: &head.headers,
        is_forwarded: &|name| !verified.contains(name) && filter.forwards(name),
        body,
        client,
        operation: exchange.model.operation,
        path_match,
    };
    Some(match reader {
        Some(reader) => reader.with_visitor(|visitor| cache.decide(&request, visitor)),
        None => cache.decide(&request, &mut IgnoreAll),
    })
}

/// Looks up a stored response, and records the result.
pub(super) fn look_up(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    decision: CacheDecision,
) -> Lookup {
    let Some(cache) = &pipeline.cache else {
        return Lookup::Miss(decision);
    };
    let now = exchange.received_at;
    let hit = match &decision {
        CacheDecision::Lookup(key) => cache.look_up(key, now),
        CacheDecision::Refresh(_) | CacheDecision::Bypass(_) => None,
    };
    let (outcome, status) = match (&hit, &decision) {
        (Some(_), _) => (CacheOutcome::Hit, CacheStatus::Hit),
        (None, CacheDecision::Lookup(_)) => (CacheOutcome::Miss, CacheStatus::Miss),
        (None, CacheDecision::Refresh(_)) => (CacheOutcome::Bypass, CacheStatus::Refresh),
        (None, CacheDecision::Bypass(_)) => (CacheOutcome::Bypass, CacheStatus::Bypass),
    };
    let age_s = hit.as_ref().map_or(0, |hit| hit.response.age_s(now));
    exchange.cache = Some(CacheNote {
        outcome,
        tier: hit.as_ref().map_or(CacheTier::None, |hit| hit.tier),
        age_s,
        key: decision.key(),
        bypass: decision.bypass(),
    });
    set_cache_status(exchange, status);
    match hit {
        Some(hit) => Lookup::Hit(hit.response, age_s),
        None => Lookup::Miss(decision),
    }
}
