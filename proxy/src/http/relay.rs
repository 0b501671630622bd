//! The client while its request is in progress: relays the rest of a pass-through body, and detects that the client
//! disconnects (of buffered requests, too).
//!
//! A pass-through body has no total deadline: it may be as long as its route allows. It must keep a
//! minimum rate, though, and must not stall (slow-body attacks, "slow POST"). Time in which the backend
//! applies backpressure is charged to the backend, not to the client.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::budgeted_reader::BudgetedReader;
use super::io::{AfterRequest, BodyReadError};
use super::session::Session;
use crate::clock;
use crate::model::request::RequestFacts;
use crate::refusal::{ErrorCode, Refusal};
use pace::Pace;

mod pace;

/// How attending to the client of a request in flight ended.
#[derive(Debug)]
pub(crate) enum RelayOutcome {
    /// The backend has received the whole body.
    BodySent,
    ClientLeft,
    /// The request must be rejected.
    Refused(Refusal),
}

/// The limits of a relayed body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelayLimits {
    pub(crate) bytes_max: u64,
    pub(crate) pacing: Pacing,
    /// How long the backend may accept no bytes.
    pub(crate) backend_idle: Duration,
}

/// The pace at which the client must send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pacing {
    /// A body: no pause longer than `idle`, and a minimum rate.
    Steady { idle: Duration },
    /// Messages of an upgraded protocol or a gRPC stream: at any time.
    Unpaced,
}

/// The rest of a request that its client is still sending while the request is served.
pub(crate) struct Relay {
    state: State,
    limits: RelayLimits,
    trailing: TrailingBytes,
    bytes: u64,
    /// Reads the body while it is forwarded, if it is a model call.
    reader: Option<Box<BudgetedReader>>,
    /// How much of the body the client has sent.
    progress: BodyProgress,
    pace: Pace,
    moved_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyProgress {
    InPart,
    Whole,
}

/// Whether bytes may follow the body before the response begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrailingBytes {
    /// They are the next request (HTTP/1.1 pipelining).
    Pipelined,
    /// After an upgrade request, the protocol of further bytes is not decided yet (RFC 9110, section 7.8).
    Forbidden,
}

enum State {
    Open(PendingPiece, mpsc::Sender<Option<Bytes>>),
    /// The whole body had been read before the request was forwarded.
    Whole,
    /// The backend has had the whole body since then.
    BodySent(Instant),
    /// The backend accepts no more of the body: its response, or an error, is about to arrive.
    Abandoned,
}

/// What has been read and not been accepted by the backend yet.
enum PendingPiece {
    Nothing,
    Data(Bytes),
    /// The end of the body.
    End,
}

impl Relay {
    /// The client of a request whose body has been read.
    pub(crate) fn whole(trailing: TrailingBytes, now: Instant) -> Self {
        let limits = RelayLimits {
            bytes_max: u64::MAX,
            pacing: Pacing::Unpaced,
            backend_idle: Duration::MAX,
        };
        Relay::new(State::Whole, limits, trailing, now)
    }

    /// The client of a request whose body is sent to `pieces` as it arrives.
    pub(crate) fn open(
        pieces: mpsc::Sender<Option<Bytes>>,
        limits: RelayLimits,
        trailing: TrailingBytes,
        reader: Option<Box<BudgetedReader>>,
        now: Instant,
    ) -> Self {
        let relay = Relay::new(
            State::Open(PendingPiece::Nothing, pieces),
            limits,
            trailing,
            now,
        );
        Relay { reader, ..relay }
    }

    fn new(state: State, limits: RelayLimits, trailing: TrailingBytes, now: Instant) -> Self {
        Relay {
            state,
            limits,
            trailing,
            bytes: 0,
            reader: None,
            progress: BodyProgress::InPart,
            pace: Pace::default(),
            moved_at: now,
        }
    }

    /// The response has begun: bytes that follow the request belong to the next one.
    pub(crate) fn response_begun(&mut self) {
        self.trailing = TrailingBytes::Pipelined;
    }

    /// What the body of a model call has stated so far, if it is read.
    pub(crate) fn facts(&self) -> Option<RequestFacts> {
        self.reader.as_ref().map(|reader| reader.facts())
    }

    /// How much of the body has been read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the body is relayed as it arrives.
    pub(crate) fn is_relayed(&self) -> bool {
        !matches!(self.state, State::Whole)
    }

    /// Whether the client has more of the body to send.
    pub(crate) fn is_unfinished(&self) -> bool {
        match self.state {
            State::Whole | State::BodySent(_) => false,
            State::Open(..) | State::Abandoned => self.progress == BodyProgress::InPart,
        }
    }

    /// When a piece was relayed last.
    pub(crate) fn moved_at(&self) -> Instant {
        self.moved_at
    }

    /// Since when the backend has had the whole body; `None` while it has not, or if the body was read
    /// before the request was forwarded.
    pub(crate) fn sent_at(&self) -> Option<Instant> {
        match self.state {
            State::BodySent(at) => Some(at),
            State::Open(..) | State::Whole | State::Abandoned => None,
        }
    }

    /// Relays what the client sends until there is an outcome. Cancel-safe: it can be dropped at any time without
    /// losing anything.
    pub(crate) async fn attend(&mut self, session: &mut Session) -> RelayOutcome {
        loop {
            let outcome = match &self.state {
                State::Whole | State::BodySent(_) => Some(self.watch(session).await),
                State::Open(PendingPiece::Nothing, _) => self.read(session).await,
                State::Open(..) => self.send().await,
                State::Abandoned => std::future::pending().await,
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Waits for the client to disconnect.
    async fn watch(&self, session: &mut Session) -> RelayOutcome {
        match self.trailing {
            TrailingBytes::Pipelined => {
                session.client_left().await;
                RelayOutcome::ClientLeft
            }
            TrailingBytes::Forbidden => match session.left_or_sent().await {
                AfterRequest::Left => RelayOutcome::ClientLeft,
                AfterRequest::SentMore => {
                    let detail = "nothing may follow an upgrade request before its response";
                    RelayOutcome::Refused(Refusal::new(ErrorCode::BadRequest, detail))
                }
            },
        }
    }

    /// Reads the next piece.
    async fn read(&mut self, session: &mut Session) -> Option<RelayOutcome> {
        let read = match self.limits.pacing {
            Pacing::Unpaced => session.read_body().await,
            Pacing::Steady { idle } => {
                let now = clock::now();
                let (until, why) = self.pace.wait(now, idle);
                let left = until.saturating_duration_since(now);
                match clock::timeout(left, session.read_body()).await {
                    Ok(read) => read,
                    Err(_) => {
                        let refusal = Refusal::new(ErrorCode::BodyTimeout, why.detail());
                        return Some(RelayOutcome::Refused(refusal));
                    }
                }
            }
        };
        let now = clock::now();
        self.moved_at = now;
        let refusal = match read {
            Ok(Some(data)) => {
                self.bytes += data.len() as u64;
                self.pace.received(data.len() as u64, now);
                if self.bytes <= self.limits.bytes_max {
                    let reader = self.reader.as_mut();
                    if let Some(Err(refusal)) = reader.map(|reader| reader.feed(&data)) {
                        return Some(RelayOutcome::Refused(refusal));
                    }
                    if session.is_body_done() {
                        self.read_whole();
                    }
                    if !data.is_empty() {
                        self.queue(PendingPiece::Data(data));
                    }
                    return None;
                }
                Refusal::body_too_large(self.limits.bytes_max)
            }
            Ok(None) => {
                self.read_whole();
                self.queue(PendingPiece::End);
                return None;
            }
            Err(BodyReadError::Malformed(flaw)) => Refusal::malformed_body(flaw),
            Err(BodyReadError::Stalled) => Refusal::stalled_body(),
            Err(BodyReadError::ClientLeft) => return Some(RelayOutcome::ClientLeft),
        };
        Some(RelayOutcome::Refused(refusal))
    }

    fn read_whole(&mut self) {
        self.progress = BodyProgress::Whole;
        if let Some(reader) = &mut self.reader {
            reader.end();
        }
    }

    fn queue(&mut self, piece: PendingPiece) {
        if let State::Open(pending, _) = &mut self.state {
            *pending = piece;
        }
    }

    /// Sends what was read to the backend.
    async fn send(&mut self) -> Option<RelayOutcome> {
        let State::Open(pending, pieces) = &mut self.state else {
            return None;
        };
        let idle = self.limits.backend_idle;
        let waited = clock::now().saturating_duration_since(self.moved_at);
        let permit = clock::timeout(idle.saturating_sub(waited), pieces.reserve());
        let (state, outcome) = match permit.await {
            Ok(Ok(permit)) => {
                self.moved_at = clock::now();
                if let PendingPiece::Data(data) = std::mem::replace(pending, PendingPiece::Nothing)
                {
                    permit.send(Some(data));
                    return None;
                }
                permit.send(None);
                (State::BodySent(self.moved_at), Some(RelayOutcome::BodySent))
            }
            Ok(Err(_)) => (State::Abandoned, None),
            Err(_) => {
                let ms = idle.as_millis();
                let detail = format!("the backend accepted nothing of the body for {ms} ms");
                let refusal = Refusal::new(ErrorCode::UpstreamTimeout, detail);
                return Some(RelayOutcome::Refused(refusal));
            }
        };
        self.state = state;
        outcome
    }
}
