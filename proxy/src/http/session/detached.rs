//! A detached request: it continues without its client once its backend has received all of it.

use std::sync::Arc;

use http::request::Parts;
use tokio::sync::oneshot;

use super::{Client, Session};
use crate::http::Connection;
use crate::http::connections::{ConnectionSlot, DetachedRequest};
use crate::http::io::WriteError;

/// Permission to detach.
pub(super) struct DetachPermit {
    /// Resolves when the backend has been sent all of the request.
    sent: oneshot::Receiver<()>,
    place: Arc<ConnectionSlot>,
}

/// What remains of a client that left.
pub(super) struct Detached {
    pub(super) head: Parts,
    pub(super) begun: HeadSent,
    _orphaned: DetachedRequest,
}

/// Whether the head of the response had been sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadSent {
    Yes,
    No,
}

impl Session {
    /// Lets the request continue when its client leaves after the backend has been `sent` all of it: the
    /// client's connection is then closed, and what is written is discarded.
    pub(crate) fn detach_when_sent(
        &mut self,
        sent: oneshot::Receiver<()>,
        connection: &Connection,
    ) {
        self.permit = connection
            .place
            .clone()
            .map(|place| DetachPermit { sent, place });
    }

    /// Whether the client has left and its request continues.
    pub(crate) fn is_detached(&self) -> bool {
        matches!(self.client, Client::Detached(_))
    }

    /// The client has left. `None` where its request ends with it.
    pub(super) fn detach(&mut self) -> Option<()> {
        let mut permit = self.permit.take()?;
        permit.sent.try_recv().ok()?;
        let detached = Client::Detached(Box::new(Detached {
            _orphaned: permit.place.detach()?,
            head: self.head().clone(),
            begun: match self.has_begun_answer() {
                true => HeadSent::Yes,
                false => HeadSent::No,
            },
        }));
        // An HTTP/2 connection may carry other requests.
        if let Client::Http1(_) = std::mem::replace(&mut self.client, detached) {
            permit.place.release();
        }
        Some(())
    }

    /// Turns a failed write into detachment, where that is permitted.
    pub(super) fn or_detach(&mut self, written: Result<(), WriteError>) -> Result<(), WriteError> {
        written.or_else(|error| self.detach().ok_or(error))
    }
}
