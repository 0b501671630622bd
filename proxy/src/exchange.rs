//! All that is known of one request. Stages write it, record reads it.
//!
//! An exchange is made when a request's head has been read and recorded exactly once, when it is
//! dropped: whatever becomes of the request, it leaves one event and one count.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, Version};

use crate::clock;
use crate::content::Content;
use crate::model::estimate::TextCount;
use crate::model::operation::Operation;
use crate::model::usage::Usage;
use crate::random;
use crate::refusal::ErrorCode;
use crate::route::trace::{self, Recording, TraceContext};

mod request_id;
mod timing;

pub use request_id::RequestId;
pub use timing::{Stage, Timing};

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
    /// A platform's own check of the address was answered.
    Handshake,
    /// A delivery that the platform sent again; answered and not forwarded.
    Duplicate,
    Missing,
    Invalid,
    Expired,
    Replayed,
}

impl SignatureOutcome {
    /// Whether the request was refused for it.
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

/// What the limit stage decided, with the limit that was nearest to its end.
#[derive(Clone, Debug)]
pub struct LimitNote {
    pub outcome: LimitOutcome,
    pub policy: Arc<str>,
    pub remaining: u64,
    /// Until its quota is whole again, in whole seconds.
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

/// What the cache stage found.
#[derive(Clone, Copy, Debug)]
pub struct CacheNote {
    pub outcome: CacheOutcome,
    pub tier: CacheTier,
    /// Age of the answer in whole seconds; 0 unless it is a hit.
    pub age_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    Hit,
    Miss,
    /// The client or the request's kind forbids to look.
    Bypass,
}

impl CacheOutcome {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheOutcome::Hit => "hit",
            CacheOutcome::Miss => "miss",
            CacheOutcome::Bypass => "bypass",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTier {
    Memory,
    None,
}

impl CacheTier {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheTier::Memory => "memory",
            CacheTier::None => "none",
        }
    }
}

/// What the backend stage did.
#[derive(Clone, Debug)]
pub struct UpstreamNote {
    pub backend: Arc<str>,
    /// `None` when no endpoint could be chosen.
    pub endpoint: Option<Arc<str>>,
    pub attempts: u32,
    /// `None` on a connection that was open already.
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    /// Each try that a span is made of, in their order; empty where none is.
    pub tries: Vec<Try>,
}

/// One try with a backend, as its span tells it.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    pub span_id: [u8; 8],
    pub started: Instant,
}

impl UpstreamNote {
    /// The first note of a request that this backend is asked for.
    #[must_use]
    pub fn begin(backend: Arc<str>) -> Self {
        UpstreamNote {
            backend,
            endpoint: None,
            attempts: 0,
            connect: None,
            first_byte: None,
            tries: Vec::new(),
        }
    }

    /// Begins a try of a request with this trace; gives the span that the backend's hang under.
    pub fn begin_try(&mut self, trace: &TraceContext, now: Instant) -> [u8; 8] {
        if trace.recording == Recording::Off {
            return trace.span_id;
        }
        let span_id = trace::new_span_id(&mut random::fill);
        self.tries.push(Try {
            span_id,
            started: now,
        });
        span_id
    }

    /// The span that the backend's hang under.
    #[must_use]
    pub fn parent(&self, trace: &TraceContext) -> [u8; 8] {
        self.tries
            .last()
            .map_or(trace.span_id, |attempt| attempt.span_id)
    }
}

/// What is known of the model call, read from the question and the answer.
#[derive(Clone, Debug, Default)]
pub struct ModelCall {
    pub operation: Option<Operation>,
    pub request_model: Option<Box<str>>,
    pub request_stream: bool,
    /// The texts that the model was sent, for an estimate of their tokens.
    pub request_text: TextCount,
    pub response_model: Option<Box<str>>,
    pub finish_reasons: Vec<Box<str>>,
    pub time_to_first_chunk: Option<Duration>,
    /// From the first chunk with content to the last.
    pub generation: Option<Duration>,
    pub usage: Usage,
}

/// Whether a request has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    Finished,
}

/// All that is known of one request.
#[derive(Debug)]
pub struct Exchange {
    pub id: RequestId,
    /// When the head was read, since the Unix epoch.
    pub received_at: Duration,
    pub timing: Timing,
    /// The client's address, behind trusted proxies the one they report.
    pub client_ip: IpAddr,
    /// The verified client's name.
    pub client_key: Option<Arc<str>>,
    pub method: Method,
    pub version: Version,
    /// `http` or `https`: how the client speaks to weir.
    pub scheme: &'static str,
    /// The canonical path; empty when the head could not be read.
    pub path: Box<str>,
    /// The host that was asked for, without a port.
    pub domain: Option<Box<str>>,
    /// The host that was asked for where the head has no `Host` (HTTP/2's `:authority`).
    pub authority: Option<HeaderValue>,
    /// The `CDN-Loop` that goes on to the backend.
    pub cdn_loop: Option<HeaderValue>,
    pub user_agent: Option<HeaderValue>,
    /// `None` where no route matched; the event says `none`.
    pub route: Option<Arc<str>>,
    pub platform: Arc<str>,
    pub trace: TraceContext,
    pub request_body_bytes: u64,
    pub response_body_bytes: u64,
    /// The status that was answered; 0 until there is one.
    pub status: u16,
    pub error_code: Option<ErrorCode>,
    /// The answer was cut short by the backend after its head had gone to the client.
    pub cut_short: bool,
    pub signature: Option<SignatureNote>,
    pub limit: Option<LimitNote>,
    pub cache: Option<CacheNote>,
    pub upstream: Option<UpstreamNote>,
    pub model: ModelCall,
    /// What is kept of question and answer, where that is asked for.
    pub content: Option<Box<Content>>,
    /// Fields that the stages want in the head of the answer.
    pub answer_headers: Vec<(HeaderName, HeaderValue)>,
    ending: Ending,
    /// What must happen once when the exchange ends.
    recorder: Option<Arc<dyn Recorder>>,
}

/// Takes a finished exchange: counts it and writes its event. Must not block.
pub trait Recorder: Send + Sync + std::fmt::Debug {
    fn record(&self, exchange: &Exchange);
}

impl Exchange {
    /// A new exchange, begun at `started`, that `recorder` will get when it ends.
    #[must_use]
    pub fn begin(
        started: Instant,
        client_ip: IpAddr,
        platform: Arc<str>,
        recorder: Arc<dyn Recorder>,
    ) -> Self {
        let received_at = clock::unix_now();
        Exchange {
            id: RequestId::new(received_at),
            received_at,
            timing: Timing::start(started),
            client_ip,
            client_key: None,
            method: Method::GET,
            version: Version::HTTP_11,
            scheme: "http",
            path: Box::default(),
            domain: None,
            authority: None,
            cdn_loop: None,
            user_agent: None,
            route: None,
            platform,
            trace: TraceContext::default(),
            request_body_bytes: 0,
            response_body_bytes: 0,
            status: 0,
            error_code: None,
            cut_short: false,
            signature: None,
            limit: None,
            cache: None,
            upstream: None,
            model: ModelCall::default(),
            content: None,
            answer_headers: Vec::new(),
            ending: Ending::Open,
            recorder: Some(recorder),
        }
    }

    /// The request has come to its end, whatever became of it.
    pub fn finish(&mut self, now: Instant) {
        self.timing.finish(now);
        self.ending = Ending::Finished;
    }

    /// The wall-clock time at `now`, since the Unix epoch.
    #[must_use]
    pub fn at(&self, now: Instant) -> Duration {
        self.received_at + now.saturating_duration_since(self.timing.started())
    }

    /// The task of the request was ended, as at the end of a drain: its client saw the connection close.
    fn break_off(&mut self) {
        self.finish(clock::now());
        match self.status {
            0 => {
                self.status = ErrorCode::ClientClosed.status().as_u16();
                self.error_code.get_or_insert(ErrorCode::ClientClosed);
            }
            // An upgraded connection has no end of its own.
            101 => {}
            _ => {
                self.cut_short = true;
                self.error_code.get_or_insert(ErrorCode::Internal);
            }
        }
    }

    /// Whether spans are made of this exchange.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.trace.recording == Recording::On
    }

    /// Whether `error_rate` counts this exchange: an answer of 500 or more, or one cut short by the
    /// backend. Refusals below 500 and clients that left are none.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.status >= 500 || self.cut_short
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(recorder) = self.recorder.take() {
            if self.ending == Ending::Open {
                self.break_off();
            }
            recorder.record(self);
        }
    }
}
