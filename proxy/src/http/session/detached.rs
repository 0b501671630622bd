//! A detached request: it continues without its client, as long as somebody else waits for its response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;
use http::{Method, header};
use tokio::sync::Notify;

use super::{Client, Session};
use crate::http::Connection;
use crate::http::connections::{ConnectionSlot, DetachedRequest};
use crate::http::io::WriteError;

/// For whom a request continues once its client has disconnected.
pub(crate) trait Continuation: Send + Sync {
    /// The client has disconnected: whether the request continues.
    fn outlives_client(self: Arc<Self>) -> bool;

    /// Whether a detached request still has a reason to continue.
    fn is_wanted(&self) -> bool;

    /// Notified when that may have changed.
    fn changed(&self) -> &Notify;
}

/// Permission to detach.
pub(super) struct DetachPermit {
    continuation: Arc<dyn Continuation>,
    slot: Arc<ConnectionSlot>,
}

/// A request that continues once the whole of it has been sent to the backend.
struct WhenSent {
    sent: Arc<AtomicBool>,
    /// Never notified.
    changed: Notify,
}

impl Continuation for WhenSent {
    fn outlives_client(self: Arc<Self>) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    fn is_wanted(&self) -> bool {
        true
    }

    fn changed(&self) -> &Notify {
        &self.changed
    }
}

/// What remains of a client that has disconnected.
pub(super) struct Detached {
    pub(super) head: Parts,
    pub(super) begun: HeadSent,
    continuation: Arc<dyn Continuation>,
    _orphaned: DetachedRequest,
}

/// Whether the head of the response had been sent to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadSent {
    Yes,
    No,
}

impl Detached {
    /// Resolves when nobody waits for the response any more.
    pub(super) async fn unwanted(&self) {
        loop {
            let changed = self.continuation.changed().notified();
            if !self.continuation.is_wanted() {
                return;
            }
            changed.await;
        }
    }

    /// What is written is discarded, as long as somebody waits for the response.
    pub(super) fn write(&self) -> Result<(), WriteError> {
        match self.continuation.is_wanted() {
            true => Ok(()),
            false => Err(WriteError),
        }
    }
}

impl Session {
    /// Lets the request continue if its client disconnects after the whole request has been `sent` to the backend: the
    /// client's connection is then closed, and what is written is discarded.
    pub(crate) fn detach_when_sent(&mut self, sent: Arc<AtomicBool>, connection: &Connection) {
        let changed = Notify::new();
        self.continue_for(Arc::new(WhenSent { sent, changed }), connection);
    }

    /// Lets the request continue if its client disconnects, as long as somebody else waits for its response.
    pub(crate) fn continue_for(
        &mut self,
        continuation: Arc<dyn Continuation>,
        connection: &Connection,
    ) {
        self.permit = connection
            .slot
            .clone()
            .map(|slot| DetachPermit { continuation, slot });
    }

    /// A request like this one without a client: what is written is discarded. `None` if there are too many.
    pub(crate) fn without_client(&self, connection: &Connection) -> Option<Session> {
        let slot = connection.slot.as_ref()?;
        let continuation = WhenSent {
            sent: Arc::default(),
            changed: Notify::new(),
        };
        Some(Session::of(Client::Detached(Box::new(Detached {
            continuation: Arc::new(continuation),
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
        if !permit.continuation.clone().outlives_client() {
            return None;
        }
        let detached = Client::Detached(Box::new(Detached {
            _orphaned: permit.slot.detach()?,
            continuation: permit.continuation,
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
        match (&self.client, written) {
            (_, Ok(())) => Ok(()),
            (Client::Detached(_), Err(error)) => Err(error),
            (_, Err(error)) => self.detach().ok_or(error),
        }
    }
}
