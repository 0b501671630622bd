//! The attempts to get a response from a backend, and their outcomes.
//!
//! An outcome is recorded where it occurs. An attempt that was dropped without one was abandoned: the client left, or
//! the request ended otherwise through no fault of the backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::random;
use crate::refusal::ErrorCode;
use crate::trace::{self, Recording, TraceContext};

/// What the backend stage did.
#[derive(Clone, Debug)]
pub struct UpstreamNote {
    /// The backend of the last attempt, or the one that had no endpoint to offer.
    pub backend: Arc<str>,
    /// Most requests need one.
    attempts: SmallVec<[Attempt; 1]>,
}

/// One attempt with an endpoint. A pooled connection that turns out to be closed before anything of the request
/// was written is replaced within the attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub backend: Arc<str>,
    pub endpoint: Arc<str>,
    /// The id of its span; `None` where none is recorded.
    pub span_id: Option<[u8; 8]>,
    pub started: Instant,
    /// When it ended; `None` if it was dropped.
    pub ended: Option<Instant>,
    /// How long connecting took; `None` on a pooled connection.
    pub connect: Option<Duration>,
    /// From the call to the head of the response; `None` where none arrived.
    pub first_byte: Option<Duration>,
    /// The status of the backend's response.
    pub status: Option<u16>,
    outcome: Option<AttemptOutcome>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    Ok,
    ConnectError,
    Timeout,
    /// The connection broke, or the response is not valid HTTP.
    Reset,
    Status5xx,
    /// A response of 2xx that carries an error.
    Error,
    /// A complete HTTP message with an incomplete response of a model.
    Incomplete,
    /// Ended early, through no fault of the backend.
    Abandoned,
}

impl AttemptOutcome {
    pub const ALL: [AttemptOutcome; 8] = [
        AttemptOutcome::Ok,
        AttemptOutcome::ConnectError,
        AttemptOutcome::Timeout,
        AttemptOutcome::Reset,
        AttemptOutcome::Status5xx,
        AttemptOutcome::Error,
        AttemptOutcome::Incomplete,
        AttemptOutcome::Abandoned,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            AttemptOutcome::Ok => "ok",
            AttemptOutcome::ConnectError => "connect_error",
            AttemptOutcome::Timeout => "timeout",
            AttemptOutcome::Reset => "reset",
            AttemptOutcome::Status5xx => "status_5xx",
            AttemptOutcome::Error => "error",
            AttemptOutcome::Incomplete => "incomplete",
            AttemptOutcome::Abandoned => "abandoned",
        }
    }

    /// The error code of a request whose only attempt had this outcome; `None` where the attempt did not fail.
    #[must_use]
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            AttemptOutcome::Ok | AttemptOutcome::Abandoned => None,
            AttemptOutcome::ConnectError => Some(ErrorCode::UpstreamConnect),
            AttemptOutcome::Timeout => Some(ErrorCode::UpstreamTimeout),
            AttemptOutcome::Reset => Some(ErrorCode::UpstreamReset),
            AttemptOutcome::Status5xx => Some(ErrorCode::UpstreamStatus),
            AttemptOutcome::Error => Some(ErrorCode::UpstreamError),
            AttemptOutcome::Incomplete => Some(ErrorCode::UpstreamIncomplete),
        }
    }

    fn of(code: ErrorCode) -> Option<Self> {
        let mut all = AttemptOutcome::ALL.into_iter();
        all.find(|outcome| outcome.code() == Some(code))
    }
}

impl UpstreamNote {
    /// The note of a request that is forwarded to this backend.
    #[must_use]
    pub fn begin(backend: Arc<str>) -> Self {
        UpstreamNote {
            backend,
            attempts: SmallVec::new(),
        }
    }

    /// Begins an attempt; the one before it ends here, if it has not yet.
    pub fn begin_attempt(&mut self, attempt: Attempt) -> &mut Attempt {
        if let Some(earlier) = self.attempts.last_mut() {
            earlier.ended.get_or_insert(attempt.started);
        }
        if self.backend != attempt.backend {
            self.backend = attempt.backend.clone();
        }
        self.attempts.push(attempt);
        let last = self.attempts.len() - 1;
        &mut self.attempts[last]
    }

    /// All attempts, in their order.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The attempt whose response, if any, the client got.
    #[must_use]
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// The attempt that is in progress.
    pub fn current(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut()
    }
}

impl Attempt {
    /// An attempt for a request with this trace, begun at `now`.
    #[must_use]
    pub fn begin(
        backend: Arc<str>,
        endpoint: Arc<str>,
        trace: &TraceContext,
        now: Instant,
    ) -> Self {
        let traced = trace.recording != Recording::Off;
        Attempt {
            backend,
            endpoint,
            span_id: traced.then(|| trace::new_span_id(&mut random::fill)),
            started: now,
            ended: None,
            connect: None,
            first_byte: None,
            status: None,
            outcome: None,
        }
    }

    /// The head of a response arrived at `now`.
    pub fn responded(&mut self, status: u16, now: Instant) {
        self.status = Some(status);
        self.first_byte = Some(now.saturating_duration_since(self.started));
        if status >= 500 {
            self.fail(ErrorCode::UpstreamStatus);
        }
    }

    /// The attempt failed, if the code is one of a backend's failures. The first recorded failure is kept.
    pub fn fail(&mut self, code: ErrorCode) {
        if let (None | Some(AttemptOutcome::Ok), Some(outcome)) =
            (self.outcome, AttemptOutcome::of(code))
        {
            self.outcome = Some(outcome);
        }
    }

    /// The response arrived complete.
    pub fn succeed(&mut self, now: Instant) {
        self.mark_ok();
        self.end(now);
    }

    /// The attempt counts as successful, though it continues.
    pub fn mark_ok(&mut self) {
        self.outcome.get_or_insert(AttemptOutcome::Ok);
    }

    /// Whether it is in progress.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// The attempt ended at `now`.
    pub fn end(&mut self, now: Instant) {
        self.ended.get_or_insert(now);
    }

    /// The outcome so far; `Abandoned` where none was noted.
    #[must_use]
    pub fn outcome(&self) -> AttemptOutcome {
        self.outcome.unwrap_or(AttemptOutcome::Abandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn attempt() -> Attempt {
        Attempt::begin(
            "a".into(),
            "http://a.test".into(),
            &TraceContext::default(),
            clock::now(),
        )
    }

    #[test]
    fn the_first_failure_of_an_attempt_is_its_outcome() {
        use AttemptOutcome::{Abandoned, Error, Incomplete, Ok, Reset, Status5xx, Timeout};
        let now = clock::now();
        let after = |notes: &[&dyn Fn(&mut Attempt)]| {
            let mut attempt = attempt();
            notes.iter().for_each(|note| note(&mut attempt));
            attempt.outcome()
        };
        let head = |status| move |attempt: &mut Attempt| attempt.responded(status, now);
        let fail = |code| move |attempt: &mut Attempt| attempt.fail(code);
        let whole = |attempt: &mut Attempt| attempt.succeed(now);
        assert_eq!(after(&[]), Abandoned);
        assert_eq!(after(&[&head(200)]), Abandoned);
        assert_eq!(after(&[&head(200), &whole]), Ok);
        assert_eq!(after(&[&head(404), &whole]), Ok);
        assert_eq!(after(&[&head(503)]), Status5xx);
        assert_eq!(after(&[&head(503), &whole]), Status5xx);
        assert_eq!(
            after(&[&head(503), &fail(ErrorCode::UpstreamReset)]),
            Status5xx
        );
        assert_eq!(after(&[&fail(ErrorCode::UpstreamTimeout)]), Timeout);
        assert_eq!(after(&[&head(200), &fail(ErrorCode::UpstreamReset)]), Reset);
        assert_eq!(
            after(&[&head(200), &fail(ErrorCode::UpstreamError), &whole]),
            Error
        );
        // That a response is incomplete is only known at its end.
        assert_eq!(
            after(&[&head(200), &whole, &fail(ErrorCode::UpstreamIncomplete)]),
            Incomplete
        );
        // Not the backend's fault.
        assert_eq!(after(&[&fail(ErrorCode::BodyTimeout)]), Abandoned);
        assert_eq!(after(&[&fail(ErrorCode::ClientClosed)]), Abandoned);
    }

    #[test]
    fn every_failure_of_a_backend_has_its_own_error_code() {
        for outcome in AttemptOutcome::ALL {
            match outcome.code() {
                Some(code) => assert_eq!(AttemptOutcome::of(code), Some(outcome)),
                None => assert!(matches!(
                    outcome,
                    AttemptOutcome::Ok | AttemptOutcome::Abandoned
                )),
            }
        }
    }

    #[test]
    fn an_attempt_ends_the_one_before_it() {
        let mut note = UpstreamNote::begin("a".into());
        assert!(note.last().is_none());
        note.begin_attempt(attempt());
        let mut second = attempt();
        second.started += Duration::from_secs(1);
        let started = second.started;
        note.begin_attempt(second);
        assert_eq!(note.attempts()[0].ended, Some(started));
        assert_eq!(note.last().and_then(|attempt| attempt.ended), None);
        assert_eq!(&*note.backend, "a");
        note.begin_attempt(Attempt {
            backend: "b".into(),
            ..attempt()
        });
        assert_eq!(&*note.backend, "b", "the last one responds");
    }
}
