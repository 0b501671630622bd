//! A platform's delivery between its arrival and what its backend makes of it.
//!
//! A platform that gets no answer in time sends its delivery again, while the backend may still be at work
//! on it. Who brings it again then waits: what ended well is not asked for a second time, and what did not
//! is taken over by one of those that wait, or comes again. Only deliveries in hand are kept here, so there
//! are never more than requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::replay::{Key, Shared};

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The backend took it: it stays remembered.
    Taken,
    /// It came to nothing: it may come again.
    Failed,
}

/// How a delivery is known, for whoever looks after it; `None` while it is open.
pub(super) type Watched = watch::Receiver<Option<Fate>>;

/// Who brings a delivery: see [`Delivery`] and [`Repeat`].
#[derive(Debug)]
pub enum Claim {
    First(Delivery),
    /// The one who brought it first has it still in hand.
    Open(Repeat),
    /// It was taken before.
    Taken,
}

/// A delivery in the hands of the request that brought it. Dropped, whatever the cause, it has failed.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    key: Key,
    fate: watch::Sender<Option<Fate>>,
}

/// A delivery that was brought again, by a request that has to wait for what becomes of it.
#[derive(Debug)]
pub struct Repeat {
    shared: Arc<Shared>,
    key: Key,
    /// How long the scheme remembers, in seconds.
    window_s: u64,
    /// How long after its arrival its platform must have had an answer.
    answer_within: Duration,
    fate: Watched,
}

impl Delivery {
    /// A delivery in hand, and how others know of it.
    pub(super) fn open(shared: &Arc<Shared>, key: Key) -> (Self, Watched) {
        let (fate, watched) = watch::channel(None);
        let delivery = Delivery {
            shared: shared.clone(),
            key,
            fate,
        };
        (delivery, watched)
    }

    /// The backend took it, at `now` since the Unix epoch. It is remembered before those that wait are
    /// woken, so that they find it so.
    pub fn taken(self, now: Duration) {
        self.shared.taken(self.key, now);
        self.fate.send_replace(Some(Fate::Taken));
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.fate.borrow().is_none() {
            self.shared.failed(&self.key);
            self.fate.send_replace(Some(Fate::Failed));
        }
    }
}

impl Repeat {
    pub(super) fn of(
        shared: &Arc<Shared>,
        key: Key,
        window_s: u64,
        answer_within: Duration,
        fate: Watched,
    ) -> Self {
        Repeat {
            shared: shared.clone(),
            key,
            window_s,
            answer_within,
            fate,
        }
    }

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
    #[must_use]
    pub fn again(self, now: Duration) -> Claim {
        self.shared
            .claim(self.key, now, self.window_s, self.answer_within)
    }
}

#[cfg(test)]
mod tests;
