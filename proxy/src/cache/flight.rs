//! Request coalescing (single flight, against cache stampedes): equal questions in flight are asked once.
//!
//! The first request under a key is its leader: it asks the backend. Equal requests that arrive meanwhile follow it: they
//! get its response from an append-only list of shared pieces, what is there at once and the rest as it arrives, each
//! at its own pace. The list is bounded: past its bounds nobody can join any more, and only the pieces that some follower has
//! not read yet are kept. A leader that fails is replaced by one of the followers that have received nothing yet, a few times.
//!
//! A flight reads no clock and knows nothing of a response but its pieces: it is shared by everything that caches.

use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::CacheKey;
use super::memory::KeyHasher;
use state::{FlightStage, FlightState, LeaderState};

mod follower;
mod lead;
mod state;
#[cfg(test)]
mod tests;

pub use follower::{FollowedPiece, Follower, FollowerStart};
pub use lead::Lead;
pub use state::ResponseEnd;

/// How many followers may try again, one after the other, where the first request fails or its response is cut.
const ELECTIONS_MAX: u8 = 2;

/// The requests of one route that are in flight, with the head `H` of their responses.
pub struct Flights<H> {
    shared: Arc<SharedFlights<H>>,
}

/// How much memory the pieces of responses in flight may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightBounds {
    /// Of one response.
    pub response_bytes_max: usize,
    /// Of all responses.
    pub bytes_max: usize,
}

struct SharedFlights<H> {
    flights: Mutex<HashMap<CacheKey, Arc<Flight<H>>, BuildHasherDefault<KeyHasher>>>,
    /// How many flights have landed: see [`Flights::mark`].
    landed: AtomicU64,
    bytes: AtomicUsize,
    /// What has been read of responses for followers, and waits for the client of the leader.
    bytes_ahead: Arc<AtomicUsize>,
    followers: AtomicUsize,
    bounds: FlightBounds,
}

/// A request in flight, and what its followers share.
struct Flight<H> {
    key: CacheKey,
    state: Mutex<FlightState<H>>,
    /// Notified whenever the state has changed for its followers.
    changed: Notify,
    /// Notified whenever the state has changed for its leader: a follower joined, read or left.
    followed: Arc<Notify>,
    shared: Arc<SharedFlights<H>>,
}

/// Whether a request may lead equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayLead {
    Yes,
    /// It only follows: its own response would not serve the others.
    No,
}

/// A moment in the life of [`Flights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightMark(u64);

/// The role of a request among equal ones.
pub enum Joined<H> {
    /// It is the first one, and asks the backend.
    Leader(Lead<H>),
    /// An equal request has been asked already.
    Follower(Follower<H>),
    /// It is asked on its own: the response in flight has grown past the bounds, or there is none and it may not lead.
    Alone,
    /// A flight has landed since the cache was looked up: its response may be stored by now.
    LookAgain,
}

impl<H: Clone> Flights<H> {
    #[must_use]
    pub fn new(bounds: FlightBounds) -> Self {
        Flights {
            shared: Arc::new(SharedFlights {
                flights: Mutex::new(HashMap::default()),
                landed: AtomicU64::new(0),
                bytes: AtomicUsize::new(0),
                bytes_ahead: Arc::default(),
                followers: AtomicUsize::new(0),
                bounds,
            }),
        }
    }

    /// A mark to take before the cache is looked up: a request that finds nothing there, and whose leader has landed
    /// before it joins, has to look again.
    #[must_use]
    pub fn mark(&self) -> FlightMark {
        FlightMark(self.shared.landed.load(Ordering::Acquire))
    }

    /// Joins the flight under `key`, or begins one if the request may lead; the cache had nothing at `mark`.
    #[must_use]
    pub fn join(&self, key: CacheKey, mark: FlightMark, may_lead: MayLead) -> Joined<H> {
        let mut flights = self.shared.flights.lock();
        if let Some(flight) = flights.get(&key) {
            let mut state = flight.state.lock();
            if state.is_open() {
                return match state.join() {
                    true => Joined::Follower(Follower::new(flight, may_lead)),
                    false => Joined::Alone,
                };
            }
        }
        if self.mark() != mark {
            return Joined::LookAgain;
        }
        if may_lead == MayLead::No {
            return Joined::Alone;
        }
        let state = FlightState::new(ELECTIONS_MAX);
        let flight = Arc::new(Flight::new(key, state, self.shared.clone()));
        flights.insert(key, flight.clone());
        Joined::Leader(Lead::new(flight))
    }

    /// From now on, nobody joins a flight that began before: what is stored has been purged.
    pub fn close(&self) {
        let flights = std::mem::take(&mut *self.shared.flights.lock());
        // Freed without the lock.
        drop(flights);
    }

    /// How many requests wait for the response to an equal one, or read it.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.shared.followers.load(Ordering::Relaxed)
    }

    /// The bytes of the pieces that are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shared.flights.lock().len()
    }
}

impl<H> Flight<H> {
    fn new(key: CacheKey, state: FlightState<H>, shared: Arc<SharedFlights<H>>) -> Self {
        Flight {
            key,
            state: Mutex::new(state),
            changed: Notify::new(),
            followed: Arc::new(Notify::new()),
            shared,
        }
    }

    /// Its response has ended, and nobody joins it any more. If it was cut, the followers that have received nothing of it
    /// belong to a new flight from now on, as do the requests that arrive.
    fn end(self: &Arc<Self>, end: ResponseEnd) {
        let mut flights = self.shared.flights.lock();
        let mut state = self.state.lock();
        self.count_landing();
        state.pieces.end = Some(end);
        let next = state.after_cut();
        let next = next.map(|next| Arc::new(Flight::new(self.key, next, self.shared.clone())));
        state.successor.clone_from(&next);
        drop(state);
        let current = flights.get(&self.key);
        if current.is_some_and(|current| Arc::ptr_eq(current, self)) {
            match next {
                Some(next) => flights.insert(self.key, next),
                None => flights.remove(&self.key),
            };
        }
        drop(flights);
        self.changed.notify_waiters();
    }

    /// Nobody joins it any more. The state must not be locked.
    fn land(self: &Arc<Self>) {
        let mut flights = self.shared.flights.lock();
        if flights
            .get(&self.key)
            .is_some_and(|current| Arc::ptr_eq(current, self))
        {
            flights.remove(&self.key);
        }
    }

    fn pass_on(&self) -> Option<Arc<Self>> {
        self.state.lock().pass_on()
    }

    /// Counts that a response may be in the cache now. Called before the state shows that the flight has ended: a request
    /// that finds it ended looks the cache up again.
    fn count_landing(&self) {
        self.shared.landed.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts bytes that were added to the pieces, or removed from them.
    fn count(&self, before: usize, after: usize) {
        let bytes = &self.shared.bytes;
        match after.checked_sub(before) {
            Some(added) => bytes.fetch_add(added, Ordering::Relaxed),
            None => bytes.fetch_sub(before - after, Ordering::Relaxed),
        };
    }

    /// Whether its request has a reason to continue without its client: somebody follows it. Otherwise it is closed.
    fn outlives_leader(self: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        if state.followers > 0 {
            state.leader = LeaderState::Detached;
            return true;
        }
        state.stage = FlightStage::Closed;
        drop(state);
        self.land();
        false
    }
}

impl<H> Drop for Flight<H> {
    fn drop(&mut self) {
        let bytes = self.state.get_mut().pieces.bytes();
        self.count(bytes, 0);
    }
}
