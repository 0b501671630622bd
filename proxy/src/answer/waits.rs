//! How long the pieces of an answer are waited for.

use std::time::{Duration, Instant};

use crate::listener::relay::Relay;

/// How long the backend is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) asked_at: Instant,
    /// Between two chunks, in whichever direction.
    pub(crate) idle_timeout: Duration,
    /// From when the backend has had all of the request to the end of its answer; `None`: for ever.
    pub(crate) total_timeout: Option<Duration>,
}

impl Waits {
    /// Until when the next piece is waited for, where the last came at `since`.
    pub(super) fn deadline(&self, relay: &Relay, since: Instant, now: Instant) -> Instant {
        let idle = since.max(relay.moved_at()) + self.idle_timeout;
        let Some(total) = self.total_timeout else {
            return idle;
        };
        let begun = match relay.is_unfinished() {
            true => now,
            false => relay.sent_at().unwrap_or(self.asked_at),
        };
        idle.min(begun + total)
    }
}
