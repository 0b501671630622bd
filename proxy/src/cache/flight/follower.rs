//! A follower of a flight: it gets the response of the leader.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::lead::Lead;
use super::state::{FlightStage, HeldPieces, ResponseEnd};
use super::{Flight, MayLead};
use crate::refusal::Refusal;

/// A request that waits for the response of an equal one.
pub struct Follower<H> {
    flight: Arc<Flight<H>>,
    /// Its slot among those that read.
    slot: Option<usize>,
    /// Whether it may take over from a leader that fails.
    may_lead: MayLead,
}

/// How the response of a follower begins.
pub enum FollowerStart<H> {
    /// The head of the response; the body follows.
    Head(H, Follower<H>),
    /// The leader has failed, and this request takes over.
    Leader(Lead<H>),
    /// The response is in the cache.
    Stored,
    /// It goes on alone: the response must not be shared, has grown past its bounds before this request had read anything,
    /// or the leader has failed and this request may not lead.
    Alone,
    /// Every leader has failed.
    Failed(Refusal),
}

/// What a follower reads.
#[derive(Debug)]
pub enum FollowedPiece {
    Data(Bytes),
    End(ResponseEnd),
}

impl<H: Clone> Follower<H> {
    /// A follower that has been counted.
    pub(super) fn new(flight: &Arc<Flight<H>>, may_lead: MayLead) -> Self {
        flight.followed.notify_waiters();
        flight.shared.followers.fetch_add(1, Ordering::Relaxed);
        Follower {
            flight: flight.clone(),
            slot: None,
            may_lead,
        }
    }

    /// Waits for the head of the response.
    pub async fn start(mut self) -> FollowerStart<H> {
        loop {
            let flight = self.flight.clone();
            let notified = flight.changed.notified();
            if let Some(start) = self.started() {
                return match start {
                    FollowerBegun::Succeeded(next) => {
                        self.flight = next;
                        continue;
                    }
                    FollowerBegun::Reading(head) => FollowerStart::Head(head, self),
                    FollowerBegun::Leading => FollowerStart::Leader(Lead::new(flight.clone())),
                    FollowerBegun::Stored => FollowerStart::Stored,
                    FollowerBegun::Alone => FollowerStart::Alone,
                    FollowerBegun::Failed(failure) => FollowerStart::Failed(failure),
                };
            }
            notified.await;
        }
    }

    fn started(&mut self) -> Option<FollowerBegun<H>> {
        let mut state = self.flight.state.lock();
        Some(match &state.stage {
            FlightStage::Asking => return None,
            FlightStage::Vacant if self.may_lead == MayLead::No => FollowerBegun::Alone,
            FlightStage::Vacant => {
                state.stage = FlightStage::Asking;
                FollowerBegun::Leading
            }
            FlightStage::Responding(head) => match (state.pieces.extent, state.pieces.end) {
                (HeldPieces::Unread, _) => FollowerBegun::Alone,
                (HeldPieces::All, Some(ResponseEnd::Cut(code))) => match state.pass_on() {
                    Some(next) => FollowerBegun::Succeeded(next),
                    None => {
                        let detail = "the response to an equal request was cut";
                        FollowerBegun::Failed(Refusal::new(code, detail))
                    }
                },
                (HeldPieces::All, Some(ResponseEnd::Whole(_)) | None) => {
                    let head = head.clone();
                    self.slot = Some(state.pieces.begin());
                    FollowerBegun::Reading(head)
                }
            },
            FlightStage::Stored => FollowerBegun::Stored,
            FlightStage::Apart | FlightStage::Closed => FollowerBegun::Alone,
            FlightStage::Failed(failure) => FollowerBegun::Failed(failure.clone()),
        })
    }
}

enum FollowerBegun<H> {
    Reading(H),
    Leading,
    /// It follows the next attempt.
    Succeeded(Arc<Flight<H>>),
    Stored,
    Alone,
    Failed(Refusal),
}

impl<H> Follower<H> {
    /// The next piece if it is there.
    pub fn arrived(&mut self) -> Option<FollowedPiece> {
        let slot = self.slot?;
        let mut state = self.flight.state.lock();
        let before = state.pieces.bytes();
        if let Some(piece) = state.pieces.next(slot) {
            let after = state.pieces.bytes();
            drop(state);
            if after < before {
                self.flight.count(before, after);
                self.flight.followed.notify_waiters();
            }
            return Some(FollowedPiece::Data(piece));
        }
        state.pieces.end.map(FollowedPiece::End)
    }

    /// Whether everything has been read of a response that is complete.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let state = self.flight.state.lock();
        let is_whole = matches!(state.pieces.end, Some(ResponseEnd::Whole(_)));
        is_whole
            && self
                .slot
                .is_some_and(|slot| state.pieces.has_read_all(slot))
    }

    /// How the response ended, once that is known.
    #[must_use]
    pub fn end(&self) -> Option<ResponseEnd> {
        self.flight.state.lock().pieces.end
    }

    /// The next piece. Cancel-safe.
    pub async fn next(&mut self) -> FollowedPiece {
        loop {
            let flight = self.flight.clone();
            let notified = flight.changed.notified();
            if let Some(piece) = self.arrived() {
                return piece;
            }
            notified.await;
        }
    }
}

impl<H> Drop for Follower<H> {
    fn drop(&mut self) {
        self.flight.shared.followers.fetch_sub(1, Ordering::Relaxed);
        while self.slot.is_none()
            && let Some(next) = self.flight.pass_on()
        {
            self.flight = next;
        }
        let mut state = self.flight.state.lock();
        state.followers -= 1;
        let before = state.pieces.bytes();
        if let Some(slot) = self.slot {
            state.pieces.leave(slot);
        }
        let after = state.pieces.bytes();
        let is_abandoned = state.followers == 0 && is_leaderless(&state);
        if is_abandoned {
            state.stage = FlightStage::Closed;
        }
        drop(state);
        self.flight.count(before, after);
        if is_abandoned {
            self.flight.land();
        }
        self.flight.followed.notify_waiters();
    }
}

/// Whether nobody asks the backend, or nobody but the followers wants the response.
fn is_leaderless<H>(state: &super::FlightState<H>) -> bool {
    use super::LeaderState;
    state.is_open()
        && (state.leader == LeaderState::Detached || matches!(state.stage, FlightStage::Vacant))
}
