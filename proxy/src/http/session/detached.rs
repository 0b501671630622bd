//! A detached request: once its backend has received it in full, it continues without its client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use http::{Method, header};

use super::{Client, Session};
use crate::http::Connection;
use crate::http::connections::{ConnectionSlot, DetachedRequest};
use crate::http::io::WriteError;

/// Permission to detach.
pub(super) struct DetachPermit {
    /// Whether the whole request has been sent to the backend.
    sent: Arc<AtomicBool>,
    slot: Arc<ConnectionSlot>,
}

/// What remains of a client that has disconnected.
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
    /// Lets the request continue if its client disconnects after the whole request has been `sent` to the backend: the
    /// client's connection is then closed, and what is written is discarded.
    pub(crate) fn detach_when_sent(&mut self, sent: Arc<AtomicBool>, connection: &Connection) {
        self.permit = connection
            .slot
            .clone()
            .map(|slot| DetachPermit { sent, slot });
    }

    /// A request like this one without a client: what is written is discarded. `None` if there are too many.
    pub(crate) fn without_client(&self, connection: &Connection) -> Option<Session> {
        let slot = connection.slot.as_ref()?;
        Some(Session::of(Client::Detached(Box::new(Detached {
            _orphaned: slot.detach()?,
            head: self.head().clone(),
            begun: HeadSent::No,
        }))))
    }

    /// Makes a request without a client a `GET` for the whole response, whatever the client has.
    pub(crate) fn ask_for_whole(&mut self) {
        if let Client::Detached(detached) = &mut self.client {
            detached.head.method = Method::GET;
            for name in [
                header::RANGE,
                header::IF_RANGE,
                header::IF_NONE_MATCH,
                header::IF_MODIFIED_SINCE,
                header::IF_MATCH,
                header::IF_UNMODIFIED_SINCE,
            ] {
                detached.head.headers.remove(name);
            }
        }
    }

    /// Whether the client has disconnected and its request continues.
    pub(crate) fn is_detached(&self) -> bool {
        matches!(self.client, Client::Detached(_))
    }

    /// Detaches a request whose client has disconnected. `None` if the request ends with its client.
    pub(super) fn detach(&mut self) -> Option<()> {
        let permit = self.permit.take()?;
        if !permit.sent.load(Ordering::Acquire) {
            return None;
        }
        let detached = Client::Detached(Box::new(Detached {
            _orphaned: permit.slot.detach()?,
            head: self.head().clone(),
            begun: match self.has_begun_response() {
                true => HeadSent::Yes,
                false => HeadSent::No,
            },
        }));
        // An HTTP/2 connection may carry other requests.
        if let Client::Http1(_) = std::mem::replace(&mut self.client, detached) {
            permit.slot.release();
        }
        Some(())
    }

    /// Detaches the request after a failed write, if that is permitted.
    pub(super) fn or_detach(&mut self, written: Result<(), WriteError>) -> Result<(), WriteError> {
        written.or_else(|error| self.detach().ok_or(error))
    }
}
