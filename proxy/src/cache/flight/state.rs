//! The state of one flight: how far its response has come, who follows, and the pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Flight;
use crate::refusal::{ErrorCode, Refusal};

/// What a piece costs besides its bytes.
const PIECE_OVERHEAD: usize = 64;
/// How much is held for followers once a response has grown past its bounds: then its leader waits for them.
pub(super) const WINDOW_BYTES: usize = 256 * 1024;

pub(super) struct FlightState<H> {
    pub(super) stage: FlightStage<H>,
    pub(super) leader: LeaderState,
    /// Those that wait for the head, and those that read.
    pub(super) followers: usize,
    pub(super) elections_left: u8,
    pub(super) pieces: SharedPieces,
    /// The next attempt, after a response that was cut: the followers that have received nothing of it belong to that one.
    pub(super) successor: Option<Arc<Flight<H>>>,
}

/// How far the response has come.
pub(super) enum FlightStage<H> {
    /// The leader waits for the head.
    Asking,
    /// The leader has failed: the first follower that notices takes over.
    Vacant,
    Responding(H),
    /// The response is in the cache.
    Stored,
    /// The response must not be shared.
    Apart,
    Failed(Refusal),
    /// The leader has left, and nobody followed.
    Closed,
}

/// Whether the client of the leader is still connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaderState {
    Attached,
    Detached,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEnd {
    /// With its framing; with an error inside, if there is a code.
    Whole(Option<ErrorCode>),
    /// Before its end.
    Cut(ErrorCode),
}

/// The pieces of a response from one of them on.
pub(super) struct SharedPieces {
    held: VecDeque<Bytes>,
    /// How many have been dropped before the first that is held.
    dropped: usize,
    bytes: usize,
    pub(super) extent: HeldPieces,
    pub(super) end: Option<ResponseEnd>,
    /// The position of each follower that reads, by its slot; `usize::MAX` for a free slot.
    positions: Vec<usize>,
}

/// Which pieces are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldPieces {
    /// All from the first on.
    All,
    /// Only those that a follower has not read: the bounds were reached.
    Unread,
}

const FREE: usize = usize::MAX;

impl<H> FlightState<H> {
    pub(super) fn new(elections: u8) -> Self {
        FlightState {
            stage: FlightStage::Asking,
            leader: LeaderState::Attached,
            followers: 0,
            elections_left: elections,
            pieces: SharedPieces {
                held: VecDeque::new(),
                dropped: 0,
                bytes: 0,
                extent: HeldPieces::All,
                end: None,
                positions: Vec::new(),
            },
            successor: None,
        }
    }

    /// Whether its response is still on its way.
    pub(super) fn is_open(&self) -> bool {
        match self.stage {
            FlightStage::Asking | FlightStage::Vacant => true,
            FlightStage::Responding(_) => self.pieces.end.is_none(),
            FlightStage::Stored
            | FlightStage::Apart
            | FlightStage::Failed(_)
            | FlightStage::Closed => false,
        }
    }

    /// Counts a follower; false if it would miss the beginning.
    pub(super) fn join(&mut self) -> bool {
        let is_complete = self.pieces.extent == HeldPieces::All;
        self.followers += usize::from(is_complete);
        is_complete
    }

    /// The leader fails before the head of its response. Returns whether a follower takes over.
    pub(super) fn fail(&mut self, failure: Refusal) -> bool {
        let is_followed = self.followers > 0;
        match self.elections_left.checked_sub(1) {
            Some(left) if is_followed => {
                self.elections_left = left;
                self.leader = LeaderState::Attached;
                self.stage = FlightStage::Vacant;
                true
            }
            _ => {
                self.stage = FlightStage::Failed(failure);
                false
            }
        }
    }

    /// The state of the next attempt after a response that was cut, if a follower that has received nothing may begin one.
    pub(super) fn after_cut(&self) -> Option<Self> {
        let is_cut = matches!(self.pieces.end, Some(ResponseEnd::Cut(_)));
        let waiting = self.followers.saturating_sub(self.pieces.readers());
        if !is_cut || waiting == 0 || self.pieces.extent == HeldPieces::Unread {
            return None;
        }
        let mut next = FlightState::new(self.elections_left.checked_sub(1)?);
        next.stage = FlightStage::Vacant;
        next.followers = waiting;
        Some(next)
    }

    /// One of those that have received nothing of a response that was cut leaves for the next attempt, if there is one.
    pub(super) fn pass_on(&mut self) -> Option<Arc<Flight<H>>> {
        let next = self.successor.clone()?;
        self.followers -= 1;
        Some(next)
    }
}

impl SharedPieces {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a piece, unless nobody would ever read it.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.extent == HeldPieces::All || self.has_readers() {
            self.bytes += piece.len() + PIECE_OVERHEAD;
            self.held.push_back(piece);
        }
    }

    /// From now on, only unread pieces are held.
    pub(super) fn hold_unread(&mut self) {
        self.extent = HeldPieces::Unread;
        self.drop_read();
    }

    /// Whether the leader may read more of its response.
    pub(super) fn has_room(&self, window_bytes: usize) -> bool {
        self.extent == HeldPieces::All || self.bytes <= window_bytes || !self.has_readers()
    }

    fn has_readers(&self) -> bool {
        self.readers() > 0
    }

    /// How many followers read.
    fn readers(&self) -> usize {
        let positions = self.positions.iter();
        positions.filter(|position| **position != FREE).count()
    }

    /// A slot for a follower that reads from the first piece on, while all are held.
    pub(super) fn begin(&mut self) -> usize {
        let free = self.positions.iter().position(|position| *position == FREE);
        let slot = free.unwrap_or(self.positions.len());
        match self.positions.get_mut(slot) {
            Some(position) => *position = 0,
            None => self.positions.push(0),
        }
        slot
    }

    /// The next piece for a follower.
    pub(super) fn next(&mut self, slot: usize) -> Option<Bytes> {
        let position = self.positions.get_mut(slot)?;
        let piece = self.held.get(position.checked_sub(self.dropped)?)?.clone();
        let was_first = *position == self.dropped;
        *position += 1;
        if self.extent == HeldPieces::Unread && was_first {
            self.drop_read();
        }
        Some(piece)
    }

    /// Whether a follower has read all that has been added.
    pub(super) fn has_read_all(&self, slot: usize) -> bool {
        let position = self.positions.get(slot);
        position.is_some_and(|position| *position == self.dropped + self.held.len())
    }

    /// The follower reads no more.
    pub(super) fn leave(&mut self, slot: usize) {
        if let Some(position) = self.positions.get_mut(slot) {
            *position = FREE;
        }
        if self.extent == HeldPieces::Unread {
            self.drop_read();
        }
    }

    /// Drops the pieces that every follower has read.
    fn drop_read(&mut self) {
        let slowest = self.positions.iter().min().copied().unwrap_or(FREE);
        while self.dropped < slowest
            && let Some(piece) = self.held.pop_front()
        {
            self.bytes -= piece.len() + PIECE_OVERHEAD;
            self.dropped += 1;
        }
    }
}
