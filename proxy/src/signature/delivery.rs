//! Idempotency: deliveries of a platform between their arrival and the response of the backend.
//!
//! A platform without a response in time redelivers, while the backend may still process the first request. A
//! redelivery then waits: if the first request succeeds, it is not forwarded a second time; if it fails, one of the
//! waiting ones is forwarded instead, or the platform redelivers again. Only deliveries in progress are kept here, so
//! there are never more of them than requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::replay::{ReplayKey, SeenRequests};

/// The deliveries in progress of all schemes that are joined by shared secrets. They are stored as seen
/// once the backend has accepted them.
#[derive(Debug)]
pub(super) struct Deliveries {
    seen: Arc<SeenRequests>,
    /// Lock order: this lock before those of `seen`.
    in_progress: Mutex<HashMap<ReplayKey, Watched>>,
}

impl Deliveries {
    pub(super) fn new(seen: Arc<SeenRequests>) -> Self {
        Deliveries {
            seen,
            in_progress: Mutex::default(),
        }
    }

    /// Claims the delivery for a request: of several at the same time one is the first.
    pub(super) fn claim(
        self: &Arc<Self>,
        key: ReplayKey,
        now: Duration,
        window_s: u64,
        respond_within: Duration,
    ) -> Claim {
        let mut in_progress = self.in_progress.lock();
        if let Some(fate) = in_progress.get(&key) {
            return Claim::InProgress(Repeat {
                deliveries: self.clone(),
                key,
                window_s,
                respond_within,
                fate: fate.clone(),
            });
        }
        if self.seen.contains(&key, now, window_s) {
            return Claim::Accepted;
        }
        let (fate, watched) = watch::channel(None);
        in_progress.insert(key, watched);
        Claim::First(Delivery {
            deliveries: self.clone(),
            key,
            fate,
        })
    }

    /// The backend accepted it, at `now`: from here on it counts as seen.
    fn accepted(&self, key: ReplayKey, now: Duration) {
        let mut in_progress = self.in_progress.lock();
        in_progress.remove(&key);
        self.seen.insert(key, now);
    }

    /// It failed and may be redelivered.
    fn failed(&self, key: &ReplayKey) {
        self.in_progress.lock().remove(key);
    }
}

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The backend accepted it; it counts as seen.
    Accepted,
    /// It failed and may be redelivered.
    Failed,
}

/// Reports the outcome of a delivery; `None` while it is in progress.
type Watched = watch::Receiver<Option<Fate>>;

/// The claim of a request on a delivery.
#[derive(Debug)]
pub enum Claim {
    First(Delivery),
    /// Another request with it is still in progress.
    InProgress(Repeat),
    /// It was accepted before.
    Accepted,
}

/// A delivery whose first request is in progress. Dropping it means that it failed.
#[derive(Debug)]
pub struct Delivery {
    deliveries: Arc<Deliveries>,
    key: ReplayKey,
    fate: watch::Sender<Option<Fate>>,
}

/// A redelivery, which waits for the outcome of the first request.
#[derive(Debug)]
pub struct Repeat {
    deliveries: Arc<Deliveries>,
    key: ReplayKey,
    /// The replay window of the scheme, in seconds.
    window_s: u64,
    /// The time after its arrival within which the platform needs a response.
    respond_within: Duration,
    fate: Watched,
}

impl Delivery {
    /// The backend accepted it, at `now` since the Unix epoch. It is stored as seen before waiting redeliveries are woken.
    pub async fn accepted(self, now: Duration) {
        self.deliveries.accepted(self.key, now);
        self.fate.send_replace(Some(Fate::Accepted));
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.fate.borrow().is_none() {
            self.deliveries.failed(&self.key);
            self.fate.send_replace(Some(Fate::Failed));
        }
    }
}

impl Repeat {
    /// The time after its arrival within which it needs a response, whatever the outcome.
    #[must_use]
    pub fn respond_within(&self) -> Duration {
        self.respond_within
    }

    /// Waits for the outcome of the delivery. It may be cancelled at any time.
    pub async fn decided(&mut self) -> Fate {
        let decided = self.fate.wait_for(Option::is_some).await;
        decided.ok().and_then(|fate| *fate).unwrap_or(Fate::Failed)
    }

    /// Claims it again, at `now` since the Unix epoch: of all that wait for a failed one, one is the first.
    pub async fn again(self, now: Duration) -> Claim {
        self.deliveries
            .claim(self.key, now, self.window_s, self.respond_within)
    }
}

#[cfg(test)]
mod tests;
