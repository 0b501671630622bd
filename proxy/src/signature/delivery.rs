//! Idempotency: a platform's delivery between its arrival and what its backend makes of it.
//!
//! A platform that gets no answer in time sends its delivery again, while the backend may still be at work
//! on it. Who brings it again then waits: what ended well is not asked for a second time, and what did not
//! is taken over by one of those that wait, or comes again. Only deliveries in hand are kept here, so there
//! are never more than requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::replay::{ReplayKey, SeenRequests};

/// The deliveries in progress of all schemes that are joined by shared secrets. They are remembered as seen
/// once the backend has taken them.
#[derive(Debug)]
pub(super) struct Deliveries {
    seen: Arc<SeenRequests>,
    /// Whoever holds this lock and one of `seen` takes this one first.
    in_progress: Mutex<HashMap<ReplayKey, Watched>>,
}

impl Deliveries {
    pub(super) fn new(seen: Arc<SeenRequests>) -> Self {
        Deliveries {
            seen,
            in_progress: Mutex::default(),
        }
    }

    /// Claims the delivery for whoever brings it: of several at the same time one is the first.
    pub(super) fn claim(
        self: &Arc<Self>,
        key: ReplayKey,
        now: Duration,
        window_s: u64,
        answer_within: Duration,
    ) -> Claim {
        let mut in_progress = self.in_progress.lock();
        if let Some(fate) = in_progress.get(&key) {
            return Claim::InProgress(Repeat {
                deliveries: self.clone(),
                key,
                window_s,
                answer_within,
                fate: fate.clone(),
            });
        }
        if self.seen.contains(&key, now, window_s) {
            return Claim::Taken;
        }
        let (fate, watched) = watch::channel(None);
        in_progress.insert(key, watched);
        Claim::First(Delivery {
            deliveries: self.clone(),
            key,
            fate,
        })
    }

    /// The backend took it, at `now`: from here on it is remembered.
    fn taken(&self, key: ReplayKey, now: Duration) {
        let mut in_progress = self.in_progress.lock();
        in_progress.remove(&key);
        self.seen.insert(key, now);
    }

    /// It failed: it may come again.
    fn failed(&self, key: &ReplayKey) {
        self.in_progress.lock().remove(key);
    }
}

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The backend took it: it stays remembered.
    Taken,
    /// It came to nothing: it may come again.
    Failed,
}

/// How a delivery is known, for whoever looks after it; `None` while it is open.
type Watched = watch::Receiver<Option<Fate>>;

/// Who brings a delivery: see [`Delivery`] and [`Repeat`].
#[derive(Debug)]
pub enum Claim {
    First(Delivery),
    /// The request that brought it first is still in progress.
    InProgress(Repeat),
    /// It was taken before.
    Taken,
}

/// A delivery in the hands of the request that brought it. Dropped, whatever the cause, it has failed.
#[derive(Debug)]
pub struct Delivery {
    deliveries: Arc<Deliveries>,
    key: ReplayKey,
    fate: watch::Sender<Option<Fate>>,
}

/// A delivery that was brought again, by a request that has to wait for what becomes of it.
#[derive(Debug)]
pub struct Repeat {
    deliveries: Arc<Deliveries>,
    key: ReplayKey,
    /// How long the scheme remembers, in seconds.
    window_s: u64,
    /// How long after its arrival its platform must have had an answer.
    answer_within: Duration,
    fate: Watched,
}

impl Delivery {
    /// The backend took it, at `now` since the Unix epoch. It is remembered before those that wait are
    /// woken, so that they find it so.
    pub async fn taken(self, now: Duration) {
        self.deliveries.taken(self.key, now);
        self.fate.send_replace(Some(Fate::Taken));
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
    /// How long after its arrival it has to be answered, whatever there is to say by then.
    #[must_use]
    pub fn answer_within(&self) -> Duration {
        self.answer_within
    }

    /// Waits for what becomes of the delivery. Dropped at any time, nothing is lost.
    pub async fn decided(&mut self) -> Fate {
        let decided = self.fate.wait_for(Option::is_some).await;
        decided.ok().and_then(|fate| *fate).unwrap_or(Fate::Failed)
    }

    /// Brings it once more, at `now` since the Unix epoch: of all that wait for one that failed, one is the
    /// first.
    pub async fn again(self, now: Duration) -> Claim {
        self.deliveries
            .claim(self.key, now, self.window_s, self.answer_within)
    }
}

#[cfg(test)]
mod tests;
