//! Retries: which attempts are followed by another one, where and when; the retry budget.
//!
//! A request may be repeated if repeating it does no harm (RFC 9110, section 9.2.2): its method is safe, it is a model
//! call, which creates nothing, or the client sent an `Idempotency-Key`. Any other request is repeated only if the
//! endpoint has not processed it.
//!
//! Pure: the clock and random bits are passed in.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, Method};
use serde_json::Value;

use crate::backoff;
use crate::model::operation::Operation;

/// When a backend's requests are retried.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// In all, with the first.
    pub attempts: u32,
    /// Before an endpoint is asked again; it doubles with every attempt.
    pub backoff: Duration,
    pub on: RetryOn,
    /// The share of the live requests that may be retries at the same time.
    pub budget: f64,
    /// A longer `Retry-After` is not waited for.
    pub retry_after_max: Duration,
    /// How long the start of a response is held.
    pub hold: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        RetryConfig {
            attempts: 3,
            backoff: Duration::from_secs(1),
            on: RetryOn {
                connect: true,
                reset_before_response: true,
                statuses: vec![502, 503, 504],
            },
            budget: 0.2,
            retry_after_max: Duration::from_secs(10),
            hold: Duration::from_secs(1),
        }
    }
}

/// What is retried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    pub connect: bool,
    pub reset_before_response: bool,
    pub statuses: Vec<u16>,
}

/// Whether a request may reach a backend more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatable {
    Yes,
    /// Only if no endpoint has processed it.
    Unprocessed,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOrigin {
    Client,
    /// A client that sends more while the request is served: WebSocket, another upgrade, gRPC.
    OpenStream,
    /// A platform, which repeats its delivery itself.
    Delivery,
}

impl RequestOrigin {
    /// Whether a request whose reused connection broke is sent again over a new one, if its body can be. A delivery is only
    /// where the endpoint states that it has not processed it.
    #[must_use]
    pub fn is_sent_again(self, failure: AttemptFailure) -> bool {
        self != RequestOrigin::Delivery || failure == AttemptFailure::Connect
    }
}

/// Whether the body of a request can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyReplay {
    /// It is buffered: whole, and as often as needed.
    Whole,
    /// It is passed through, and nothing of it has been sent.
    Unsent,
    /// It has been passed through in part.
    Gone,
}

/// What decides whether a request may be repeated.
#[derive(Clone, Copy, Debug)]
pub struct RepeatTraits<'a> {
    pub method: &'a Method,
    pub operation: Option<Operation>,
    /// Where `Idempotency-Key` is looked for, if it matters.
    pub headers: &'a HeaderMap,
    pub origin: RequestOrigin,
    pub body: BodyReplay,
}

impl Repeatable {
    #[must_use]
    pub fn of(request: &RepeatTraits<'_>) -> Self {
        let is_harmless = request.method.is_safe()
            || request.operation.is_some()
            || has_idempotency_key(request.headers);
        match (request.origin, request.body) {
            (RequestOrigin::Client, BodyReplay::Whole) if is_harmless => Repeatable::Yes,
            _ => Repeatable::Unprocessed,
        }
    }
}

fn has_idempotency_key(headers: &HeaderMap) -> bool {
    const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
    let key = headers.get(IDEMPOTENCY_KEY);
    key.is_some_and(|key| !key.is_empty())
}

/// Why an attempt did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection could be opened, or the endpoint states on a new one that it has not processed the request
    /// (GOAWAY, REFUSED_STREAM).
    Connect,
    /// The connection was lost before the head of a response arrived.
    Reset,
    /// The response is not valid HTTP.
    Invalid,
    /// There was no response in time.
    Timeout,
    Status {
        status: u16,
        retry_after: Option<Duration>,
        quota: Quota,
    },
    /// The first content of a response with a success status is an error.
    ErrorInBody,
}

/// What a 429 reports about the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    Left,
    /// The quota is exhausted, or a bill is unpaid: waiting does not help.
    Exhausted,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Another attempt with an endpoint that has not been tried yet, at once.
    OtherEndpoint,
    /// Another attempt after a wait.
    Wait(Duration),
    /// The fallback of the backend, if it has one.
    Failover,
    /// The response, or the error, is the client's.
    Deliver,
}

impl NextStep {
    /// Whether a retry counts for the budget. Another endpoint after a failed connection does not: no endpoint has had any
    /// work of the request, so that this cannot multiply the load.
    #[must_use]
    pub fn is_budgeted(self, failure: AttemptFailure) -> bool {
        !(self == NextStep::OtherEndpoint && failure == AttemptFailure::Connect)
    }
}

/// The state of a request's attempts with one backend.
#[derive(Clone, Copy, Debug)]
pub struct AttemptState {
    pub attempts: u32,
    pub repeatable: Repeatable,
    pub body: BodyReplay,
    /// Whether an available endpoint has not been tried yet.
    pub has_other_endpoint: bool,
    pub now: Instant,
    /// When the request has to be over.
    pub deadline: Instant,
}

impl RetryConfig {
    /// Whether anything is retried that an endpoint may have seen.
    #[must_use]
    pub fn repeats(&self) -> bool {
        self.attempts > 1 && (self.on.reset_before_response || !self.on.statuses.is_empty())
    }

    /// What follows an attempt that failed, apart from the budget. `random` are random bits.
    #[must_use]
    pub fn next(&self, failure: AttemptFailure, state: &AttemptState, random: u32) -> NextStep {
        let is_unprocessed = failure == AttemptFailure::Connect;
        let may_repeat = match (state.repeatable, state.body) {
            (_, BodyReplay::Gone) => false,
            (Repeatable::Yes, BodyReplay::Whole) => true,
            (Repeatable::Yes | Repeatable::Unprocessed, _) => is_unprocessed,
        };
        if !may_repeat {
            return NextStep::Deliver;
        }
        match failure {
            AttemptFailure::Status { status, .. } if !self.on.statuses.contains(&status) => {
                return NextStep::Deliver;
            }
            _ if !self.is_retried(failure) || state.attempts >= self.attempts => {
                return NextStep::Failover;
            }
            _ if state.has_other_endpoint => return NextStep::OtherEndpoint,
            _ => {}
        }
        let backoff = self.wait(state.attempts, random);
        let wait = match failure {
            AttemptFailure::Status {
                retry_after: Some(asked),
                ..
            } if asked > self.retry_after_max => return NextStep::Failover,
            AttemptFailure::Status {
                retry_after: Some(asked),
                ..
            } => asked.max(backoff),
            _ => backoff,
        };
        match state.now + wait < state.deadline {
            true => NextStep::Wait(wait),
            false => NextStep::Failover,
        }
    }

    /// Whether a failure may be retried with the same backend.
    fn is_retried(&self, failure: AttemptFailure) -> bool {
        match failure {
            AttemptFailure::Connect => self.on.connect,
            AttemptFailure::Reset => self.on.reset_before_response,
            AttemptFailure::Timeout | AttemptFailure::Invalid => false,
            AttemptFailure::ErrorInBody => true,
            AttemptFailure::Status { quota, .. } => quota == Quota::Left,
        }
    }

    /// `backoff * 2^(n-1)` after the nth attempt, a random time between half of it and all of it.
    fn wait(&self, attempts: u32, random: u32) -> Duration {
        let whole = backoff::exponential(self.backoff, Duration::MAX, attempts);
        let half = whole / 2;
        half + backoff::jitter(half, random)
    }
}

/// Reads from the body of a 429 whether there is any money left: providers name the reason in the code, the type or
/// the message of the error.
#[must_use]
pub fn quota(body: &[u8]) -> Quota {
    const WORDS: [&str; 3] = ["insufficient_quota", "budget", "billing"];
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Quota::Left;
    };
    // Some wrap the error in an array.
    let body = body.get(0).unwrap_or(&body);
    let error = body.get("error").unwrap_or(body);
    let texts = [
        Some(error),
        error.get("code"),
        error.get("type"),
        error.get("message"),
    ];
    let mut texts = texts.into_iter().flatten().filter_map(Value::as_str);
    let is_named = texts.any(|text| {
        let text = text.to_ascii_lowercase();
        WORDS.iter().any(|word| text.contains(word))
    });
    match is_named {
        true => Quota::Exhausted,
        false => Quota::Left,
    }
}

/// Retries that a backend may always have at the same time: a quiet backend would otherwise have none.
const RETRIES_MIN: usize = 3;

/// Bounds the retries of a backend to a share of its live requests, so that retries cannot multiply the load of a
/// backend that fails (a retry storm).
#[derive(Debug, Default)]
pub struct RetryBudget {
    retries: AtomicUsize,
}

/// One retry that is waiting or in progress.
#[derive(Debug)]
pub struct RetryPermit<'a>(&'a RetryBudget);

impl RetryBudget {
    /// Takes one retry, unless those in progress are `share` of the `live` requests already.
    #[must_use]
    pub fn take(&self, live: usize, share: f64) -> Option<RetryPermit<'_>> {
        // Rounded down; a count of requests is exact in a float.
        let max = ((live as f64 * share) as usize).max(RETRIES_MIN);
        let taken = self
            .retries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |retries| {
                (retries < max).then_some(retries + 1)
            });
        taken.is_ok().then(|| RetryPermit(self))
    }
}

impl Drop for RetryPermit<'_> {
    fn drop(&mut self) {
        self.0.retries.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "retry_table_tests.rs"]
mod table_tests;
