//! A request that goes on without its client, once its backend has been sent all of it.

use std::sync::Arc;

use http::request::Parts;
use tokio::sync::oneshot;

use super::{Client, Session};
use crate::listener::Connection;
use crate::listener::connections::{Orphaned, Place};
use crate::listener::http1::Unwritable;

/// Leave to go on.
pub(super) struct Errand {
    /// Says so when the backend has been sent all of the request.
    sent: oneshot::Receiver<()>,
    place: Arc<Place>,
}

/// What is left of a client that left.
pub(super) struct Gone {
    pub(super) head: Parts,
    _orphaned: Orphaned,
}

/// What a client has been told of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    /// Its head, perhaps with some of its body.
    Head,
}

impl Session {
    /// The request goes on without its client if that leaves when the backend has been `sent` all of it:
    /// then the client's connection is closed, and what is written goes nowhere.
    pub(crate) fn outlive_client(&mut self, sent: oneshot::Receiver<()>, connection: &Connection) {
        self.errand = connection.place.clone().map(|place| Errand { sent, place });
    }

    /// What the client had been told when it left its request to go on; `None` while it is there.
    pub(crate) fn left_behind(&self) -> Option<Told> {
        matches!(self.client, Client::Gone(_)).then_some(self.told)
    }

    /// The client has left. `None` where its request ends with that.
    pub(super) fn let_go(&mut self) -> Option<()> {
        let mut errand = self.errand.take()?;
        errand.sent.try_recv().ok()?;
        let gone = Client::Gone(Box::new(Gone {
            _orphaned: errand.place.orphan()?,
            head: self.head().clone(),
        }));
        // A connection of HTTP/2 has other requests, perhaps.
        if let Client::Http1(_) = std::mem::replace(&mut self.client, gone) {
            errand.place.vacate();
        }
        Some(())
    }

    /// What comes of a write.
    pub(super) fn or_go_on(&mut self, written: Result<(), Unwritable>) -> Result<(), Unwritable> {
        written.or_else(|unwritable| self.let_go().ok_or(unwritable))
    }

    /// The same, of one with which the head of the answer goes out.
    pub(super) fn tell(&mut self, written: Result<(), Unwritable>) -> Result<(), Unwritable> {
        if written.is_ok() && !matches!(self.client, Client::Gone(_)) {
            self.told = Told::Head;
        }
        self.or_go_on(written)
    }
}
