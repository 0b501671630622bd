//! Connection limits: counts open, rejected and lingering connections, each within a bound.
//!
//! A connection is counted from the moment it is accepted, before its TLS handshake. Beyond the limit it is
//! rejected: a limited number of those get a 503 and may linger, the others are closed unread. Connections
//! that linger after an early response are counted and bounded too. So are detached requests, which
//! outlive their clients: a drain waits for them as it does for connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use metrics::ConnectionCounts;

pub mod metrics;

/// How many rejected connections may get a response at once; further ones are closed without one.
const REFUSED_MAX: usize = 64;
/// How many connections may linger at once for the full time.
const LINGERING_MAX: usize = 256;

/// The connection counts and their bounds.
#[derive(Debug)]
pub struct Connections {
    open: AtomicUsize,
    refused: AtomicUsize,
    lingering: AtomicUsize,
    /// Requests whose clients have disconnected.
    detached: AtomicUsize,
    max: usize,
    counts: ConnectionCounts,
    closed: Notify,
}

/// Whether a new connection is admitted.
#[derive(Debug)]
pub(crate) enum Admission {
    Open(OpenConnection),
    /// Beyond the limit: it gets a response.
    Refused(RefusedConnection),
    /// Beyond the limit, and too many rejected connections are open already.
    Full,
}

/// One open connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct OpenConnection(Arc<Connections>);

/// The slot of an open connection; its requests share it.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    connections: Arc<Connections>,
    open: Mutex<Option<OpenConnection>>,
}

/// One request that continues although its client has disconnected.
#[derive(Debug)]
pub(crate) struct DetachedRequest(Arc<Connections>);

/// One rejected connection that gets a response.
#[derive(Debug)]
pub(crate) struct RefusedConnection(Arc<Connections>);

/// One connection that lingers after its response.
#[derive(Debug)]
pub(crate) struct LingeringConnection(Arc<Connections>);

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

    /// Counts an accepted connection, if it is within the limits.
    pub(crate) fn admit(self: &Arc<Self>) -> Admission {
        if try_increment(&self.open, self.max) {
            self.counts.open.inc();
            return Admission::Open(OpenConnection(self.clone()));
        }
        if try_increment(&self.refused, REFUSED_MAX) {
            self.counts.refused_answered.inc();
            return Admission::Refused(RefusedConnection(self.clone()));
        }
        self.counts.refused_closed.inc();
        Admission::Full
    }

    /// Counts a connection that lingers; `None` when too many do already.
    pub(crate) fn linger(self: &Arc<Self>) -> Option<LingeringConnection> {
        try_increment(&self.lingering, LINGERING_MAX).then(|| {
            self.counts.lingering.inc();
            LingeringConnection(self.clone())
        })
    }

    /// Counts an HTTP/2 connection that is closed because of a flood of frames.
    pub(crate) fn flooded(&self) {
        self.counts.flooded.inc();
    }

    /// How many are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many client sockets there are: open and rejected. A detached request still counts, for the socket
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

impl OpenConnection {
    /// Keeps the slot until the client disconnects or all its requests have ended.
    pub(crate) fn into_slot(self) -> Arc<ConnectionSlot> {
        Arc::new(ConnectionSlot {
            connections: self.0.clone(),
            open: Mutex::new(Some(self)),
        })
    }
}

impl ConnectionSlot {
    /// Counts a detached request; `None` when their number has reached the connection limit.
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

impl Drop for OpenConnection {
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

impl Drop for RefusedConnection {
    fn drop(&mut self) {
        self.0.refused.fetch_sub(1, Ordering::AcqRel);
        self.0.closed.notify_waiters();
    }
}

impl Drop for LingeringConnection {
    fn drop(&mut self) {
        self.0.lingering.fetch_sub(1, Ordering::AcqRel);
        self.0.counts.lingering.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(connections: &Arc<Connections>) -> OpenConnection {
        match connections.admit() {
            Admission::Open(open) => open,
            admission => panic!("{admission:?}"),
        }
    }

    #[tokio::test]
    async fn the_limit_is_enforced_and_the_last_close_is_signalled() {
        let counts = ConnectionCounts::unexposed();
        let connections = Connections::new(2, counts.clone());
        let first = open(&connections);
        let second = open(&connections);
        assert!(matches!(connections.admit(), Admission::Refused(_)));
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
        let slot = open(&connections).into_slot();
        let detached = slot.detach().expect("there is room");
        assert!(slot.detach().is_none());
        slot.release();
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
        let answered: Vec<_> = (0..REFUSED_MAX).map(|_| connections.admit()).collect();
        assert!(
            answered
                .iter()
                .all(|admission| matches!(admission, Admission::Refused(_)))
        );
        assert!(matches!(connections.admit(), Admission::Full));
        assert_eq!(connections.sockets(), REFUSED_MAX);
        assert_eq!(counts.refused_answered.get(), REFUSED_MAX as u64);
        assert_eq!(counts.refused_closed.get(), 1);
        drop(answered);
        assert!(matches!(connections.admit(), Admission::Refused(_)));
        let lingering: Vec<_> = (0..=LINGERING_MAX).map(|_| connections.linger()).collect();
        assert!(lingering[LINGERING_MAX].is_none());
        assert_eq!(counts.lingering.get(), LINGERING_MAX as i64);
        drop(lingering);
        assert_eq!(counts.lingering.get(), 0);
    }
}
