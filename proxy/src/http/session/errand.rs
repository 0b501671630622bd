//! A request that goes on without its client, once its backend has been sent all of it.

use std::sync::Arc;

use http::request::Parts;
use tokio::sync::oneshot;

use super::{Client, Session};
use crate::http::Connection;
use crate::http::connections::{Orphaned, Place};
use crate::http::io::WriteError;

/// Leave to go on.
pub(super) struct Errand {
    /// Says so when the backend has been sent all of the request.
    sent: oneshot::Receiver<()>,
    place: Arc<Place>,
}

/// What is left of a client that left.
pub(super) struct Gone {
    pub(super) head: Parts,
    pub(super) begun: Begun,
    _orphaned: Orphaned,
}

/// Whether the head of the answer had left for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Yes,
    No,
}

impl Session {
    /// The request goes on without its client if that leaves when the backend has been `sent` all of it:
    /// then the client's connection is closed, and what is written goes nowhere.
    pub(crate) fn outlive_client(&mut self, sent: oneshot::Receiver<()>, connection: &Connection) {
        self.errand = connection.place.clone().map(|place| Errand { sent, place });
    }

    /// Whether the client has left, and its request goes on.
    pub(crate) fn is_client_gone(&self) -> bool {
        matches!(self.client, Client::Gone(_))
    }

    /// The client has left. `None` where its request ends with that.
    pub(super) fn let_go(&mut self) -> Option<()> {
        let mut errand = self.errand.take()?;
        errand.sent.try_recv().ok()?;
        let gone = Client::Gone(Box::new(Gone {
            _orphaned: errand.place.orphan()?,
            head: self.head().clone(),
            begun: match self.has_begun_answer() {
                true => Begun::Yes,
                false => Begun::No,
            },
        }));
        // A connection of HTTP/2 has other requests, perhaps.
        if let Client::Http1(_) = std::mem::replace(&mut self.client, gone) {
            errand.place.vacate();
        }
        Some(())
    }

    /// What comes of a write.
    pub(super) fn or_go_on(&mut self, written: Result<(), WriteError>) -> Result<(), WriteError> {
        written.or_else(|unwritable| self.let_go().ok_or(unwritable))
    }
}
