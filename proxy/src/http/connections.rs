//! Connection limits: how many are open, refused, lingering, each within a bound.
//!
//! A connection is counted from the moment it is accepted, before its TLS handshake. Past the limit it is
//! refused: a few of those at once get a 503 and may linger, the others are closed unread. Connections
//! that linger after an early response are counted and bounded too; so are detached requests, which
//! outlive their clients: a drain waits for them as it waits for connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use metrics::ConnectionCounts;

pub mod metrics;

/// How many refused connections may be answered at once; further ones are closed without a response.
const REFUSED_MAX: usize = 64;
/// How many connections may linger at once for the full time.
const LINGERING_MAX: usize = 256;

/// The connection counts and their bounds.
#[derive(Debug)]
pub struct Connections {
    open: AtomicUsize,
    refused: AtomicUsize,
    lingering: AtomicUsize,
    /// Requests whose clients have left.
    detached: AtomicUsize,
    max: usize,
    counts: ConnectionCounts,
    closed: Notify,
}

/// Whether a new connection is admitted.
#[derive(Debug)]
pub(crate) enum Entry {
    Open(Open),
    /// Past the limit; it gets a response.
    Refused(Refused),
    /// Past the limit, and too many of those are being answered already.
    Full,
}

/// One open connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Open(Arc<Connections>);

/// The slot of a connection among the open ones; its requests share it.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    connections: Arc<Connections>,
    open: Mutex<Option<Open>>,
}

/// One request that continues although its client has left.
#[derive(Debug)]
pub(crate) struct DetachedRequest(Arc<Connections>);

/// One refused connection that is being answered.
#[derive(Debug)]
pub(crate) struct Refused(Arc<Connections>);

/// One connection that lingers after its response.
#[derive(Debug)]
pub(crate) struct Lingering(Arc<Connections>);

impl Connections {
    #[must_use]
    pub fn new(max: usize, counts: ConnectionCounts) -> Arc<Self> {
        Arc::new(Connections {
            open: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            lingering: AtomicUsize::new(0),
            detached: AtomicUsize::new(0),
            max,
            counts,
            closed: Notify::new(),
        })
    }

    /// Counts a connection that has been accepted.
    pub(crate) fn enter(self: &Arc<Self>) -> Entry {
        if try_increment(&self.open, self.max) {
            self.counts.open.inc();
            return Entry::Open(Open(self.clone()));
        }
        if try_increment(&self.refused, REFUSED_MAX) {
            self.counts.refused_answered.inc();
            return Entry::Refused(Refused(self.clone()));
        }
        self.counts.refused_closed.inc();
        Entry::Full
    }

    /// Counts a connection that lingers; `None` when too many do already.
    pub(crate) fn linger(self: &Arc<Self>) -> Option<Lingering> {
        try_increment(&self.lingering, LINGERING_MAX).then(|| {
            self.counts.lingering.inc();
            Lingering(self.clone())
        })
    }

    /// Counts an HTTP/2 connection that is closed because it floods.
    pub(crate) fn flooded(&self) {
        self.counts.flooded.inc();
    }

    /// How many are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many client sockets there are: open and refused. A detached request still counts, for the socket
    /// to its backend.
    pub(crate) fn sockets(&self) -> usize {
        self.open() + self.refused.load(Ordering::Relaxed) + self.detached()
    }

    /// How many requests continue without their clients.
    #[must_use]
    pub fn detached(&self) -> usize {
        self.detached.load(Ordering::Acquire)
    }

    /// Ends when the last connection is closed and the last detached request has ended.
    pub async fn wait_for_none(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 && self.detached() == 0 {
                return;
            }
            closed.await;
        }
    }

    /// Ends when a connection is closed after this was first polled.
    pub(crate) async fn wait_for_close(&self) {
        self.closed.notified().await;
    }
}

impl Open {
    /// Keeps the slot until the client leaves or all its requests have ended.
    pub(crate) fn into_slot(self) -> Arc<ConnectionSlot> {
        Arc::new(ConnectionSlot {
            connections: self.0.clone(),
            open: Mutex::new(Some(self)),
        })
    }
}

impl ConnectionSlot {
    /// Counts a detached request; `None` when there are as many as there may be connections.
    pub(crate) fn detach(&self) -> Option<DetachedRequest> {
        let connections = &self.connections;
        try_increment(&connections.detached, connections.max)
            .then(|| DetachedRequest(connections.clone()))
    }

    /// Frees the slot: the connection is closed, though requests of it may continue.
    pub(crate) fn release(&self) {
        self.open.lock().take();
    }
}

/// Counts one more, up to `max`.
fn try_increment(count: &AtomicUsize, max: usize) -> bool {
    let more = |count: usize| (count < max).then_some(count + 1);
    count
        .fetch_update(Ordering::AcqRel, Ordering::Relaxed, more)
        .is_ok()
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.counts.open.dec();
        self.0.closed.notify_waiters();
    }
}

impl Drop for DetachedRequest {
    fn drop(&mut self) {
        self.0.detached.fetch_sub(1, Ordering::AcqRel);
        self.0.closed.notify_waiters();
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        self.0.refused.fetch_sub(1, Ordering::AcqRel);
        self.0.closed.notify_waiters();
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.lingering.fetch_sub(1, Ordering::AcqRel);
        self.0.counts.lingering.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(connections: &Arc<Connections>) -> Open {
        match connections.enter() {
            Entry::Open(open) => open,
            entry => panic!("{entry:?}"),
        }
    }

    #[tokio::test]
    async fn the_limit_holds_and_the_last_close_is_signalled() {
        let counts = ConnectionCounts::unexposed();
        let connections = Connections::new(2, counts.clone());
        let first = open(&connections);
        let second = open(&connections);
        assert!(matches!(connections.enter(), Entry::Refused(_)));
        assert_eq!((connections.open(), counts.open.get()), (2, 2));
        let waiting = tokio::spawn({
            let connections = connections.clone();
            async move { connections.wait_for_none().await }
        });
        drop(first);
        drop(second);
        waiting.await.expect("noticed");
        open(&connections);
        assert_eq!(counts.open.get(), 0);
    }

    #[tokio::test]
    async fn detached_requests_are_bounded_and_a_drain_waits_for_them() {
        let counts = ConnectionCounts::unexposed();
        let connections = Connections::new(1, counts.clone());
        let place = open(&connections).into_slot();
        let detached = place.detach().expect("there is room");
        assert!(place.detach().is_none());
        place.release();
        assert_eq!((connections.open(), counts.open.get()), (0, 0));
        assert_eq!(connections.sockets(), 1);
        let waiting = tokio::spawn({
            let connections = connections.clone();
            async move { connections.wait_for_none().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(detached);
        waiting.await.expect("noticed");
        assert_eq!(connections.sockets(), 0);
    }

    #[test]
    fn refused_and_lingering_connections_are_bounded_and_counted() {
        let counts = ConnectionCounts::unexposed();
        let connections = Connections::new(0, counts.clone());
        let answered: Vec<_> = (0..REFUSED_MAX).map(|_| connections.enter()).collect();
        assert!(
            answered
                .iter()
                .all(|entry| matches!(entry, Entry::Refused(_)))
        );
        assert!(matches!(connections.enter(), Entry::Full));
        assert_eq!(connections.sockets(), REFUSED_MAX);
        assert_eq!(counts.refused_answered.get(), REFUSED_MAX as u64);
        assert_eq!(counts.refused_closed.get(), 1);
        drop(answered);
        assert!(matches!(connections.enter(), Entry::Refused(_)));
        let lingering: Vec<_> = (0..=LINGERING_MAX).map(|_| connections.linger()).collect();
        assert!(lingering[LINGERING_MAX].is_none());
        assert_eq!(counts.lingering.get(), LINGERING_MAX as i64);
        drop(lingering);
        assert_eq!(counts.lingering.get(), 0);
    }
}
