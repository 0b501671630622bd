//! How long the pieces of an answer are waited for.

use std::time::{Duration, Instant};

use crate::http::relay::Relay;

/// How long the backend is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) asked_at: Instant,
    /// When the head of the answer had come.
    pub(crate) answered_at: Instant,
    /// Between two chunks, in whichever direction.
    pub(crate) idle_timeout: Duration,
    /// To the end of the answer, from when the backend has had all of the request, or has answered without:
    /// who answers has what it needs. `None`: for ever.
    pub(crate) total_timeout: Option<Duration>,
}

impl Waits {
    /// Until when the next piece is waited for, where the last came at `since`.
    pub(super) fn deadline(&self, relay: &Relay, since: Instant) -> Instant {
        let idle = since.max(relay.moved_at()) + self.idle_timeout;
        let Some(total) = self.total_timeout else {
            return idle;
        };
        let begun = match relay.is_relayed() {
            true => relay
                .sent_at()
                .map_or(self.answered_at, |sent| sent.min(self.answered_at)),
            false => self.asked_at,
        };
        idle.min(begun + total)
    }
}
