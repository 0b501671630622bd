//! How long the pieces of a response are waited for.

use std::time::{Duration, Instant};

use crate::http::relay::Relay;

/// The timeouts of a response whose head has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseTimeouts {
    /// When the backend was called.
    pub(crate) called_at: Instant,
    /// When the head of the response had arrived.
    pub(crate) head_at: Instant,
    /// Between two pieces, in whichever direction.
    pub(crate) idle: Duration,
    /// To the end of the response, from when the backend has had all of the request, or has responded
    /// without it. `None`: for ever.
    pub(crate) total: Option<Duration>,
}

impl ResponseTimeouts {
    /// Until when the next piece is waited for, where the last arrived at `since`.
    pub(super) fn deadline(&self, relay: &Relay, since: Instant) -> Instant {
        let idle = since.max(relay.moved_at()) + self.idle;
        let Some(total) = self.total else {
            return idle;
        };
        let begun = match relay.is_relayed() {
            true => relay
                .sent_at()
                .map_or(self.head_at, |sent| sent.min(self.head_at)),
            false => self.called_at,
        };
        idle.min(begun + total)
    }
}
