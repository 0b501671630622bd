//! The leader of a flight: it asks the backend for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use super::Flight;
use super::state::{FlightStage, HeldPieces, LeaderState, ResponseEnd, WINDOW_BYTES};
use crate::http::session::Continuation;
use crate::refusal::{ErrorCode, Refusal};

/// What is held of a response, or read ahead of a client, while all responses together exceed their bound: enough for each
/// to go on.
const NARROW_BYTES: usize = 16 * 1024;

/// The leader of a flight. Dropping it before the end fails the flight.
pub struct Lead<H> {
    flight: Arc<Flight<H>>,
    progress: LeadProgress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeadProgress {
    Asking,
    Responding,
    Landed,
}

impl<H: Send + Sync> Continuation for Flight<H> {
    fn outlives_client(self: Arc<Self>) -> bool {
        self.outlives_leader()
    }

    fn is_wanted(&self) -> bool {
        let state = self.state.lock();
        state.leader == LeaderState::Attached || state.followers > 0
    }

    fn changed(&self) -> &Notify {
        &self.followed
    }
}

impl<H> Lead<H> {
    pub(super) fn new(flight: Arc<Flight<H>>) -> Self {
        Lead {
            flight,
            progress: LeadProgress::Asking,
        }
    }

    /// The head of a response that may be shared has arrived.
    pub fn begin(&mut self, head: H) {
        if self.progress == LeadProgress::Asking {
            self.progress = LeadProgress::Responding;
            self.flight.state.lock().stage = FlightStage::Responding(head);
            self.flight.changed.notify_waiters();
        }
    }

    /// Adds a piece of the body.
    pub fn push(&mut self, piece: Bytes) {
        if self.progress != LeadProgress::Responding || piece.is_empty() {
            return;
        }
        let flight = &self.flight;
        let bounds = flight.shared.bounds;
        let mut state = flight.state.lock();
        let before = state.pieces.bytes();
        state.pieces.push(piece);
        let after = state.pieces.bytes();
        flight.count(before, after);
        let is_full = after > bounds.response_bytes_max
            || flight.shared.bytes.load(Ordering::Relaxed) > bounds.bytes_max;
        if is_full && state.pieces.extent == HeldPieces::All {
            state.pieces.hold_unread();
            flight.count(after, state.pieces.bytes());
        }
        let is_followed = state.followers > 0;
        drop(state);
        if is_followed {
            flight.changed.notify_waiters();
        }
    }

    /// The response has ended.
    pub fn end(&mut self, end: ResponseEnd) {
        if self.progress == LeadProgress::Responding {
            self.progress = LeadProgress::Landed;
            self.flight.end(end);
        }
    }

    /// The request failed before the head of a response.
    pub fn fail(&mut self, failure: Refusal) {
        if self.progress != LeadProgress::Asking {
            return;
        }
        let mut state = self.flight.state.lock();
        self.flight.count_landing();
        let has_successor = state.fail(failure);
        drop(state);
        match has_successor {
            true => {
                self.progress = LeadProgress::Landed;
                self.flight.changed.notify_waiters();
            }
            false => self.land(),
        }
    }

    /// The response must not be shared: all followers go on alone.
    pub fn set_apart(&mut self) {
        self.settle(FlightStage::Apart);
    }

    /// The response is in the cache, where followers find it.
    pub fn stored(&mut self) {
        self.settle(FlightStage::Stored);
    }

    fn settle(&mut self, stage: FlightStage<H>) {
        if self.progress == LeadProgress::Asking {
            let mut state = self.flight.state.lock();
            self.flight.count_landing();
            state.stage = stage;
            drop(state);
            self.land();
        }
    }

    fn land(&mut self) {
        self.progress = LeadProgress::Landed;
        self.flight.land();
        self.flight.changed.notify_waiters();
    }

    /// Whether somebody follows.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.progress != LeadProgress::Landed && self.flight.state.lock().followers > 0
    }

    /// Whether the followers have read enough of what is held. True while a response is within its bounds.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let shared = &self.flight.shared;
        let is_over = shared.bytes.load(Ordering::Relaxed) > shared.bounds.bytes_max;
        let window_bytes = if is_over { NARROW_BYTES } else { WINDOW_BYTES };
        self.flight.state.lock().pieces.has_room(window_bytes)
    }

    /// How much may be read ahead of the leader's own client: as much as is held of a response, as long as all leaders
    /// together stay within the bound of all responses.
    #[must_use]
    pub fn bytes_ahead_max(&self) -> usize {
        let shared = &self.flight.shared;
        match shared.bytes_ahead.load(Ordering::Relaxed) > shared.bounds.bytes_max {
            true => NARROW_BYTES,
            false => shared.bounds.response_bytes_max,
        }
    }

    /// What all leaders have read ahead of their clients.
    #[must_use]
    pub fn bytes_ahead(&self) -> Arc<AtomicUsize> {
        self.flight.shared.bytes_ahead.clone()
    }

    /// Notified when a follower has joined, read or left.
    #[must_use]
    pub fn followed(&self) -> Arc<Notify> {
        self.flight.followed.clone()
    }
}

impl<H: Send + Sync + 'static> Lead<H> {
    /// The flight, for the client of this request.
    #[must_use]
    pub(crate) fn continuation(&self) -> Arc<dyn Continuation> {
        self.flight.clone()
    }
}

/// A leader that has noted no end was cancelled, or could not continue without its client: the backend has not failed.
impl<H> Drop for Lead<H> {
    fn drop(&mut self) {
        match self.progress {
            LeadProgress::Asking => self.fail(Refusal::new(
                ErrorCode::Internal,
                "an equal request was cancelled before its response",
            )),
            LeadProgress::Responding => self.end(ResponseEnd::Cut(ErrorCode::Internal)),
            LeadProgress::Landed => {}
        }
    }
}
