//! The stages that may say no, on a real request: signature, limits, cache.

use std::sync::Arc;

use http::HeaderValue;

use super::Stop;
use super::arrival::{forwarded_host, query, tell};
use super::inbound::Inbound;
use super::lane::Lane;
use crate::backend::outgoing::Sieve;
use crate::cache::status::Status;
use crate::cache::{Named, Question, Stored, Use};
use crate::exchange::{
    CacheNote, CacheOutcome, CacheTier, Exchange, LimitOutcome, SignatureNote, SignatureOutcome,
};
use crate::limit::concurrency::Permit;
use crate::limit::{Decision, Standing, Subject, retry_after_s};
use crate::listener::session::Session;
use crate::refusal::{ErrorCode, Refusal};
use crate::route::PathPattern;
use crate::signature::{Delivery, Request};

/// Asks the limits by address, before anything of the body has been read.
pub(super) fn admit_address(
    lane: &Lane,
    session: &Session,
    exchange: &mut Exchange,
) -> Result<(), Refusal> {
    if !lane.limits.any_by_address() {
        return Ok(());
    }
    let decision = lane.limits.admit_address(&subject(session, exchange));
    settle_limit(lane, exchange, decision)
}

/// Asks all other limits.
pub(super) fn admit(
    lane: &Lane,
    session: &Session,
    exchange: &mut Exchange,
) -> Result<(), Refusal> {
    let decision = lane.limits.admit(&subject(session, exchange));
    settle_limit(lane, exchange, decision)
}

fn subject<'a>(session: &'a Session, exchange: &'a Exchange) -> Subject<'a> {
    Subject {
        address: exchange.client_ip,
        client: exchange.client_key.as_deref(),
        platform: &exchange.platform,
        headers: &session.head().headers,
    }
}

/// What is said is the limit nearest to its end over all stages; where one has said no, it is that one.
fn settle_limit(lane: &Lane, exchange: &mut Exchange, decision: Decision) -> Result<(), Refusal> {
    let (standing, refusal) = match decision {
        Decision::Admitted(later) => {
            let earlier = exchange.limit.as_ref().map(Standing::noted);
            (Standing::nearer(earlier, later), None)
        }
        Decision::Limited {
            standing,
            retry_after,
        } => {
            let detail = format!("limit \"{}\" is used up", standing.policy);
            let refusal = Refusal::new(ErrorCode::RateLimited, detail);
            let refusal = refusal.retry_after(retry_after_s(retry_after));
            (Some(standing), Some(refusal))
        }
    };
    let Some(standing) = standing else {
        return Ok(());
    };
    let outcome = match refusal {
        None => LimitOutcome::Admitted,
        Some(_) => LimitOutcome::Limited,
    };
    exchange
        .answer_headers
        .retain(|(name, _)| !name.as_str().starts_with("ratelimit"));
    if let Some(policy) = lane.limits.policy_header() {
        tell(exchange, "ratelimit-policy", policy.clone());
    }
    tell(exchange, "ratelimit", standing.header());
    exchange.limit = Some(standing.note(outcome));
    refusal.map_or(Ok(()), Err)
}

/// A place among the requests at once.
pub(super) fn enter(lane: &Lane) -> Result<Option<Permit>, Refusal> {
    let Some(concurrency) = &lane.concurrency else {
        return Ok(None);
    };
    match concurrency.try_enter() {
        Some(permit) => Ok(Some(permit)),
        None => {
            let detail = format!("route {} has as many requests as it may", lane.config.name);
            Err(Refusal::new(ErrorCode::OverCapacity, detail).retry_after(1))
        }
    }
}

/// A delivery of a platform that sends again what was not taken. Unless its answer was a 2xx it is
/// forgotten, so that the next try is not taken for a duplicate.
pub(crate) struct Remembered {
    lane: Arc<Lane>,
    delivery: Option<Delivery>,
}

impl Remembered {
    /// Says how the delivery was answered.
    pub(crate) fn settle(mut self, status: u16) {
        if (200..300).contains(&status) {
            self.delivery = None;
        }
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        if let (Some(gate), Some(delivery)) = (&self.lane.gate, &self.delivery) {
            gate.forget(delivery);
        }
    }
}

/// Checks the signature over the raw bytes.
pub(super) fn verify(
    lane: &Arc<Lane>,
    session: &Session,
    exchange: &mut Exchange,
    body: &[u8],
) -> Result<Option<Remembered>, Stop> {
    let Some(gate) = &lane.gate else {
        return Ok(None);
    };
    let head = session.head();
    let verdict = gate.check(
        &Request {
            method: &head.method,
            path: &exchange.path,
            query: query(&head.uri),
            headers: &head.headers,
            body,
        },
        exchange.received_at,
    );
    exchange.signature = Some(SignatureNote {
        scheme: verdict.scheme,
        outcome: verdict.outcome,
        key: verdict.key,
    });
    exchange.client_key = verdict.client;
    let code = match verdict.outcome {
        SignatureOutcome::Valid => {
            return Ok(verdict.delivery.map(|delivery| Remembered {
                lane: lane.clone(),
                delivery: Some(delivery),
            }));
        }
        SignatureOutcome::Handshake | SignatureOutcome::Duplicate => {
            return Err(match verdict.answer {
                Some(answer) => Stop::Platform(answer),
                None => Refusal::new(ErrorCode::Internal, "a platform's answer is missing").into(),
            });
        }
        SignatureOutcome::Missing => ErrorCode::SignatureMissing,
        SignatureOutcome::Invalid => ErrorCode::SignatureInvalid,
        SignatureOutcome::Expired => ErrorCode::SignatureExpired,
        SignatureOutcome::Replayed => ErrorCode::SignatureReplayed,
    };
    let mut refusal = Refusal::new(code, verdict.detail);
    refusal.title = verdict.title;
    refusal.challenge = Some(Box::new(gate.challenge().clone()));
    Err(refusal.into())
}

/// What the cache knows.
pub(super) enum Known {
    Answer(Arc<Stored>, u64),
    /// Nothing; what may be done with the answer.
    Ask(Use),
}

/// Looks the question up, if it has been read.
pub(super) fn look_up(
    lane: &Lane,
    session: &Session,
    exchange: &mut Exchange,
    body: &Inbound,
) -> Known {
    let (Some(answers), Inbound::Buffered(body)) = (&lane.answers, body) else {
        return Known::Ask(Use::Bypass);
    };
    let head = session.head();
    let address = exchange
        .client_key
        .is_none()
        .then(|| exchange.client_ip.to_string());
    let client = exchange
        .client_key
        .as_deref()
        .or(address.as_deref())
        .unwrap_or_default();
    let (withheld, verified) = lane.settled_headers(exchange);
    let sieve = Sieve::new(&head.headers, withheld, lane.backend.config());
    let named = match &lane.config.path {
        PathPattern::Exact(path) if **path == *exchange.path => Named::Exactly,
        PathPattern::Exact(_) | PathPattern::Prefix(_) => Named::ByWildcard,
    };
    let using = answers.consider(&Question {
        method: &head.method,
        path: &exchange.path,
        query: query(&head.uri),
        host: forwarded_host(head, exchange).map_or(&[], HeaderValue::as_bytes),
        headers: &head.headers,
        goes_on: &|name| !verified.contains(name) && sieve.lets_through(name),
        body: &body.bytes,
        client,
        operation: exchange.model.operation,
        named,
    });
    let now = exchange.received_at;
    let found = match &using {
        Use::Full(key) => answers.lookup(key, now),
        Use::Refresh(_) | Use::Bypass => None,
    };
    let (outcome, tier, status) = match (&found, &using) {
        (Some(_), _) => (CacheOutcome::Hit, CacheTier::Memory, Status::Hit),
        (None, Use::Full(_)) => (CacheOutcome::Miss, CacheTier::None, Status::Miss),
        (None, Use::Refresh(_)) => (CacheOutcome::Bypass, CacheTier::None, Status::Refresh),
        (None, Use::Bypass) => (CacheOutcome::Bypass, CacheTier::None, Status::Bypass),
    };
    let age_s = found.as_ref().map_or(0, |stored| stored.age_s(now));
    exchange.cache = Some(CacheNote {
        outcome,
        tier,
        age_s,
    });
    tell(exchange, "cache-status", status.header());
    match found {
        Some(stored) => Known::Answer(stored, age_s),
        None => Known::Ask(using),
    }
}
