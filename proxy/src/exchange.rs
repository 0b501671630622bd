//! The record of one request: the stages write it, the recorders read it.
//!
//! An exchange begins when the head of a request has been read, and is recorded exactly once, when it is
//! dropped. So every request leaves one event and one count, also when its client leaves or its task is
//! cancelled.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, Version};

use crate::clock;
use crate::content::Content;
use crate::model::estimate::TokenEstimator;
use crate::model::operation::Operation;
use crate::model::usage::Usage;
use crate::refusal::ErrorCode;
use crate::trace::{Recording, TraceContext};

mod attempt;
mod background;
mod cache;
mod failure;
pub(crate) mod millis;
mod request_id;
mod sampling;
mod timing;

pub use attempt::{Attempt, AttemptOutcome, UpstreamNote};
pub use cache::{BypassReason, CacheKey, CacheKeyId, CacheNote, CacheOutcome, CacheTier};
pub use request_id::RequestId;
pub use sampling::EventSampling;
pub use timing::{Stage, Timing};

/// What the caches did for the request (RFC 9211), among the headers of the response.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the signature stage found.
#[derive(Clone, Debug)]
pub struct SignatureNote {
    pub scheme: &'static str,
    pub outcome: SignatureOutcome,
    /// Which of the client's secrets matched, counted from 0.
    pub key: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureOutcome {
    Valid,
    /// The platform's own check of the endpoint; weir has responded to it.
    Handshake,
    /// A delivery that the platform repeated; acknowledged, and not forwarded.
    Duplicate,
    Missing,
    Invalid,
    Expired,
    Replayed,
}

impl SignatureOutcome {
    /// Whether the request was rejected because of it.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        match self {
            SignatureOutcome::Valid | SignatureOutcome::Handshake | SignatureOutcome::Duplicate => {
                false
            }
            SignatureOutcome::Missing
            | SignatureOutcome::Invalid
            | SignatureOutcome::Expired
            | SignatureOutcome::Replayed => true,
        }
    }

    pub const ALL: [SignatureOutcome; 7] = [
        SignatureOutcome::Valid,
        SignatureOutcome::Handshake,
        SignatureOutcome::Duplicate,
        SignatureOutcome::Missing,
        SignatureOutcome::Invalid,
        SignatureOutcome::Expired,
        SignatureOutcome::Replayed,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SignatureOutcome::Valid => "valid",
            SignatureOutcome::Handshake => "handshake",
            SignatureOutcome::Duplicate => "duplicate",
            SignatureOutcome::Missing => "missing",
            SignatureOutcome::Invalid => "invalid",
            SignatureOutcome::Expired => "expired",
            SignatureOutcome::Replayed => "replayed",
        }
    }
}

/// What the limit stage decided, with the limit that was closest to its quota.
#[derive(Clone, Debug)]
pub struct LimitNote {
    pub outcome: LimitOutcome,
    pub policy: Arc<str>,
    pub remaining: u64,
    /// Until the quota is fully restored, in whole seconds.
    pub reset_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOutcome {
    Admitted,
    Limited,
}

impl LimitOutcome {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LimitOutcome::Admitted => "admitted",
            LimitOutcome::Limited => "limited",
        }
    }
}

/// The model call, as read from its request and its response.
#[derive(Clone, Debug, Default)]
pub struct ModelCall {
    pub operation: Option<Operation>,
    pub request_model: Option<Box<str>>,
    pub request_stream: bool,
    /// Estimates the tokens of the text that the model was sent.
    pub request_text: TokenEstimator,
    pub response_model: Option<Box<str>>,
    pub finish_reasons: Vec<Box<str>>,
    pub time_to_first_chunk: Option<Duration>,
    /// From the first chunk with content to the last.
    pub generation: Option<Duration>,
    pub usage: Usage,
}

/// What the client did once its response had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEnd {
    /// It read to the end, or all that is relevant.
    Stayed,
    /// It stopped reading before the end. The recorded status remains the one that it was sent.
    Aborted,
}

/// Whether a request has been served to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Finished,
    /// It is a request of weir's own, which is not served to anybody.
    Background,
}

/// The record of one request.
#[derive(Debug)]
pub struct Exchange {
    pub id: RequestId,
    /// When the head was read, since the Unix epoch.
    pub received_at: Duration,
    pub timing: Timing,
    /// The client's address: behind trusted proxies, the one that they report.
    pub client_ip: IpAddr,
    /// The name of the verified client.
    pub client_name: Option<Arc<str>>,
    pub method: Method,
    pub version: Version,
    /// `http` or `https`: the scheme between client and weir.
    pub scheme: &'static str,
    /// The canonical path; empty when the head could not be read.
    pub path: Box<str>,
    /// The requested host, without a port.
    pub domain: Option<Box<str>>,
    /// The requested host where the head has no `Host` field (HTTP/2's `:authority`).
    pub authority: Option<HeaderValue>,
    /// The `CDN-Loop` that the backend gets.
    pub cdn_loop: Option<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    /// `None` where no route matched; `none` in the event.
    pub route: Option<Arc<str>>,
    /// The configured path of the route, in the generation that the request met.
    pub route_path: Option<Arc<str>>,
    pub platform: Arc<str>,
    pub trace: TraceContext,
    /// Of the generation that the request met.
    pub event_sampling: EventSampling,
    pub request_body_bytes: u64,
    pub response_body_bytes: u64,
    /// The status of the response; 0 until there is one.
    pub status: u16,
    pub error_code: Option<ErrorCode>,
    /// What the client did once the head of the response had been written.
    pub client: ClientEnd,
    pub signature: Option<SignatureNote>,
    pub limit: Option<LimitNote>,
    pub cache: Option<CacheNote>,
    pub upstream: Option<UpstreamNote>,
    pub model: ModelCall,
    /// The recorded texts of request and response, where `events.content` enables it.
    pub content: Option<Box<Content>>,
    /// Header fields that the stages add to the response.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    phase: Phase,
    /// Records the exchange when it is dropped.
    recorder: Option<Arc<dyn Recorder>>,
}

/// The `route` of requests that match none.
pub const NO_ROUTE: &str = "none";
/// The `platform` of requests that match no route.
pub const NO_PLATFORM: &str = "none";

/// Records finished exchanges, for example counts them or writes their events. Must not block.
pub trait Recorder: Send + Sync + std::fmt::Debug {
    /// Records an exchange that took `duration` in all.
    fn record(&self, exchange: &Exchange, duration: Duration);

    /// Records a request of weir's own. It is none of a client: it leaves no event and is not counted as a request.
    fn record_background(&self, _exchange: &Exchange) {}
}

impl Exchange {
    /// A new exchange, begun at `started`. `recorder` records it when it is dropped.
    #[must_use]
    pub fn begin(
        started: Instant,
        client_ip: IpAddr,
        platform: Arc<str>,
        recorder: Arc<dyn Recorder>,
    ) -> Self {
        Exchange::new(started, client_ip, platform, Some(recorder))
    }

    fn new(
        started: Instant,
        client_ip: IpAddr,
        platform: Arc<str>,
        recorder: Option<Arc<dyn Recorder>>,
    ) -> Self {
        let received_at = clock::unix_now();
        Exchange {
            id: RequestId::new(received_at),
            received_at,
            timing: Timing::start(started),
            client_ip,
            client_name: None,
            method: Method::GET,
            version: Version::HTTP_11,
            scheme: "http",
            path: Box::default(),
            domain: None,
            authority: None,
            cdn_loop: None,
            user_agent: None,
            route: None,
            route_path: None,
            platform,
            trace: TraceContext::default(),
            event_sampling: EventSampling::ALL,
            request_body_bytes: 0,
            response_body_bytes: 0,
            status: 0,
            error_code: None,
            client: ClientEnd::Stayed,
            signature: None,
            limit: None,
            cache: None,
            upstream: None,
            model: ModelCall::default(),
            content: None,
            response_headers: Vec::new(),
            phase: Phase::Open,
            recorder,
        }
    }

    /// The request has been served to its end, whatever its outcome.
    pub fn finish(&mut self, now: Instant) {
        self.timing.finish(now);
        self.phase = Phase::Finished;
    }

    /// The wall-clock time at `now`, since the Unix epoch.
    #[must_use]
    pub fn at(&self, now: Instant) -> Duration {
        self.received_at + now.saturating_duration_since(self.timing.started())
    }

    /// From the head of the request to its end. The stages of a finished request cover all of its time; one whose
    /// client left is dropped within a stage, so its end is read from the clock.
    pub(crate) fn duration(&self, now: impl FnOnce() -> Instant) -> Duration {
        match self.error_code {
            Some(ErrorCode::ClientClosed) => now().saturating_duration_since(self.timing.started()),
            _ => self.timing.total(),
        }
    }

    /// The task of the request was cancelled, as at the end of a drain: the client saw its connection close.
    fn record_cancellation(&mut self) {
        self.finish(clock::now());
        match self.status {
            0 => {
                self.status = ErrorCode::ClientClosed.status().as_u16();
                self.error_code.get_or_insert(ErrorCode::ClientClosed);
            }
            // An upgraded connection has no end of its own.
            101 => {}
            _ => {
                self.error_code.get_or_insert(ErrorCode::Internal);
            }
        }
    }

    /// Begins an attempt.
    pub fn begin_attempt(&mut self, attempt: Attempt) -> &mut Attempt {
        self.upstream
            .get_or_insert_with(|| UpstreamNote::begin(attempt.backend.clone()))
            .begin_attempt(attempt)
    }

    /// The current or last attempt.
    pub fn attempt(&mut self) -> Option<&mut Attempt> {
        self.upstream.as_mut().and_then(UpstreamNote::current)
    }

    /// The response failed after its head had been written. The first recorded error is kept.
    pub fn fail(&mut self, code: ErrorCode) {
        self.error_code.get_or_insert(code);
        if let Some(attempt) = self.attempt() {
            attempt.fail(code);
        }
    }

    /// Whether spans of this exchange are recorded.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.trace.recording == Recording::On
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(recorder) = self.recorder.take() else {
            return;
        };
        match self.phase {
            Phase::Background => return recorder.record_background(self),
            Phase::Open => self.record_cancellation(),
            Phase::Finished => {}
        }
        recorder.record(self, self.duration(clock::now));
    }
}
