//! The client's side of a request that is already being served: what it still sends of a body that goes
//! on as it comes, and that it leaves.
//!
//! A body that nobody buffers has no time for all of it: it may be as long as its route allows. It must
//! not stand still, though, and not drip. Time in which the backend takes nothing is the backend's.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::budgeted_reader::BudgetedReader;
use super::io::{AfterRequest, BodyReadError};
use super::session::Session;
use crate::clock;
use crate::model::question::Question;
use crate::refusal::{ErrorCode, Refusal};
use pace::Pace;

mod pace;

/// What came of the client while its request was served.
#[derive(Debug)]
pub(crate) enum Attended {
    /// The backend has all of the body.
    Sent,
    ClientLeft,
    /// The request cannot go on.
    Refused(Refusal),
}

/// What a relayed body is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes_max: u64,
    pub(crate) rhythm: Rhythm,
    /// How long the backend may take nothing of what has come.
    pub(crate) backend_idle: Duration,
}

/// How the client has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rhythm {
    /// A body: without a break longer than this, and at a minimum rate.
    Steady { idle: Duration },
    /// Messages, whenever there are any.
    Anyhow,
}

/// What a client still sends of the request that is being served.
pub(crate) struct Relay {
    state: State,
    bounds: Bounds,
    behind: Behind,
    bytes: u64,
    /// Reads what goes by, where that is a question to a model.
    question: Option<Box<BudgetedReader>>,
    /// Whether the client has sent all of it.
    read: Read,
    pace: Pace,
    moved_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    InPart,
    Whole,
}

/// What may come behind the body before the request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The next request.
    Anything,
    /// Nothing: with an upgrade asked for, it would be of no protocol yet (RFC 9110, section 7.8).
    Nothing,
}

enum State {
    Open(Held, mpsc::Sender<Option<Bytes>>),
    /// All of it was there before the backend was asked.
    Whole,
    /// The backend has all of it, since then.
    Sent(Instant),
    /// The backend takes no more of it: its answer, or its failure, is on the way.
    GivenUp,
}

/// What was read and the backend has not taken yet.
enum Held {
    Nothing,
    Data(Bytes),
    /// The end of the body.
    End,
}

impl Relay {
    /// The client of a request whose body is there.
    pub(crate) fn whole(behind: Behind, now: Instant) -> Self {
        let bounds = Bounds {
            bytes_max: u64::MAX,
            rhythm: Rhythm::Anyhow,
            backend_idle: Duration::MAX,
        };
        Relay::new(State::Whole, bounds, behind, now)
    }

    /// The client of a request whose body goes to `pieces` as it comes.
    pub(crate) fn open(
        pieces: mpsc::Sender<Option<Bytes>>,
        bounds: Bounds,
        behind: Behind,
        question: Option<Box<BudgetedReader>>,
        now: Instant,
    ) -> Self {
        let relay = Relay::new(State::Open(Held::Nothing, pieces), bounds, behind, now);
        Relay { question, ..relay }
    }

    fn new(state: State, bounds: Bounds, behind: Behind, now: Instant) -> Self {
        Relay {
            state,
            bounds,
            behind,
            bytes: 0,
            question: None,
            read: Read::InPart,
            pace: Pace::default(),
            moved_at: now,
        }
    }

    /// The request has been answered: what comes behind it is the next one.
    pub(crate) fn answered(&mut self) {
        self.behind = Behind::Anything;
    }

    /// What the body has asked so far, where it is read for that.
    pub(crate) fn question(&self) -> Option<Question> {
        self.question.as_ref().map(|asked| asked.question())
    }

    /// How much of the body has been read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the body goes on as it comes.
    pub(crate) fn is_relayed(&self) -> bool {
        !matches!(self.state, State::Whole)
    }

    /// Whether the client has more of the body to send.
    pub(crate) fn is_unfinished(&self) -> bool {
        match self.state {
            State::Whole | State::Sent(_) => false,
            State::Open(..) | State::GivenUp => self.read == Read::InPart,
        }
    }

    /// When something was sent on last.
    pub(crate) fn moved_at(&self) -> Instant {
        self.moved_at
    }

    /// Since when the backend has had all of the body; `None` while it has not, or if it had it before
    /// it was asked.
    pub(crate) fn sent_at(&self) -> Option<Instant> {
        match self.state {
            State::Sent(at) => Some(at),
            State::Open(..) | State::Whole | State::GivenUp => None,
        }
    }

    /// Sends on what the client sends, until something comes of it. Dropped at any time, nothing is lost.
    pub(crate) async fn attend(&mut self, session: &mut Session) -> Attended {
        loop {
            let came = match &self.state {
                State::Whole | State::Sent(_) => Some(self.watch(session).await),
                State::Open(Held::Nothing, _) => self.read(session).await,
                State::Open(..) => self.send().await,
                State::GivenUp => std::future::pending().await,
            };
            if let Some(attended) = came {
                return attended;
            }
        }
    }

    /// Waits for the client to leave.
    async fn watch(&self, session: &mut Session) -> Attended {
        match self.behind {
            Behind::Anything => {
                session.left().await;
                Attended::ClientLeft
            }
            Behind::Nothing => match session.left_or_sent().await {
                AfterRequest::Left => Attended::ClientLeft,
                AfterRequest::SentMore => {
                    let detail = "nothing may follow the request before its upgrade is answered";
                    Attended::Refused(Refusal::new(ErrorCode::BadRequest, detail))
                }
            },
        }
    }

    /// Reads the next piece.
    async fn read(&mut self, session: &mut Session) -> Option<Attended> {
        let read = match self.bounds.rhythm {
            Rhythm::Anyhow => session.read_body().await,
            Rhythm::Steady { idle } => {
                let now = clock::now();
                let (until, why) = self.pace.wait(now, idle);
                let left = until.saturating_duration_since(now);
                match clock::timeout(left, session.read_body()).await {
                    Ok(read) => read,
                    Err(_) => {
                        let refusal = Refusal::new(ErrorCode::BodyTimeout, why.detail());
                        return Some(Attended::Refused(refusal));
                    }
                }
            }
        };
        let now = clock::now();
        self.moved_at = now;
        let refusal = match read {
            Ok(Some(data)) => {
                self.bytes += data.len() as u64;
                self.pace.came(data.len() as u64, now);
                if self.bytes <= self.bounds.bytes_max {
                    let asked = self.question.as_mut();
                    if let Some(Err(refusal)) = asked.map(|asked| asked.feed(&data)) {
                        return Some(Attended::Refused(refusal));
                    }
                    if session.is_body_done() {
                        self.read_whole();
                    }
                    if !data.is_empty() {
                        self.hold(Held::Data(data));
                    }
                    return None;
                }
                Refusal::body_too_large(self.bounds.bytes_max)
            }
            Ok(None) => {
                self.read_whole();
                self.hold(Held::End);
                return None;
            }
            Err(BodyReadError::Malformed(flaw)) => Refusal::malformed_body(flaw),
            Err(BodyReadError::Stalled) => {
                Refusal::new(ErrorCode::BodyTimeout, "the body stood still")
            }
            Err(BodyReadError::ClientLeft) => return Some(Attended::ClientLeft),
        };
        Some(Attended::Refused(refusal))
    }

    fn read_whole(&mut self) {
        self.read = Read::Whole;
        if let Some(question) = &mut self.question {
            question.end();
        }
    }

    fn hold(&mut self, what: Held) {
        if let State::Open(held, _) = &mut self.state {
            *held = what;
        }
    }

    /// Gives what was read to the backend.
    async fn send(&mut self) -> Option<Attended> {
        let State::Open(held, pieces) = &mut self.state else {
            return None;
        };
        let idle = self.bounds.backend_idle;
        let waited = clock::now().saturating_duration_since(self.moved_at);
        let room = clock::timeout(idle.saturating_sub(waited), pieces.reserve());
        let (state, attended) = match room.await {
            Ok(Ok(room)) => {
                self.moved_at = clock::now();
                if let Held::Data(data) = std::mem::replace(held, Held::Nothing) {
                    room.send(Some(data));
                    return None;
                }
                room.send(None);
                (State::Sent(self.moved_at), Some(Attended::Sent))
            }
            Ok(Err(_)) => (State::GivenUp, None),
            Err(_) => {
                let ms = idle.as_millis();
                let detail = format!("the backend took nothing of the body for {ms} ms");
                let refusal = Refusal::new(ErrorCode::UpstreamTimeout, detail);
                return Some(Attended::Refused(refusal));
            }
        };
        self.state = state;
        attended
    }
}
