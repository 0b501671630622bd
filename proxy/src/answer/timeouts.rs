//! How long to wait for the pieces of a response.

use std::time::{Duration, Instant};

use crate::http::relay::Relay;

/// The timeouts of a response whose head has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseTimeouts {
    /// When the backend was called.
    pub(crate) called_at: Instant,
    /// When the head of the response had arrived.
    pub(crate) head_at: Instant,
    /// Between two pieces, in either direction.
    pub(crate) idle: Duration,
    /// To the end of the response, from when the backend has received the whole request or has responded
    /// without it. `None`: unlimited.
    pub(crate) total: Option<Duration>,
}

impl ResponseTimeouts {
    /// The deadline of the next piece, if the last one arrived at `since`.
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
