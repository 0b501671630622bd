//! How many connections are open, and that there are never too many.
//!
//! A connection is counted from the moment it is accepted, before its TLS handshake. One too many is
//! refused: a few of those at once are answered and may linger, the others are closed unread. Whoever
//! reads on after an early answer is counted too, and bounded; so is work that goes on after its client
//! has left, which a stop waits for as it waits for connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use metrics::ConnectionCounts;

pub mod metrics;

/// So many refused connections may be answered at once; the next ones are closed without a word.
const REFUSED_MAX: usize = 64;
/// So many connections may read on at once, for long, what was sent behind an early answer.
const LINGERING_MAX: usize = 256;

/// The counts of connections, with their bounds.
#[derive(Debug)]
pub struct Connections {
    open: AtomicUsize,
    refused: AtomicUsize,
    lingering: AtomicUsize,
    /// Requests whose clients have left.
    orphaned: AtomicUsize,
    max: usize,
    counts: ConnectionCounts,
    closed: Notify,
}

/// What a new connection is.
#[derive(Debug)]
pub(crate) enum Entry {
    Open(Open),
    /// One too many, which may be told so.
    Refused(Refused),
    /// One too many, and too many of those are being told already.
    Full,
}

/// One open connection; dropping it is closing.
#[derive(Debug)]
pub(crate) struct Open(Arc<Connections>);

/// The place of a connection among those that are open, which all its requests share.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    open: Mutex<Option<Open>>,
}

/// One request that goes on although its client has left.
#[derive(Debug)]
pub(crate) struct Orphaned(Arc<Connections>);

/// One refused connection that is being told so.
#[derive(Debug)]
pub(crate) struct Refused(Arc<Connections>);

/// One connection that reads on after its answer.
#[derive(Debug)]
pub(crate) struct Lingering(Arc<Connections>);

impl Connections {
    #[must_use]
    pub fn new(max: usize, counts: ConnectionCounts) -> Arc<Self> {
        Arc::new(Connections {
            open: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            lingering: AtomicUsize::new(0),
            orphaned: AtomicUsize::new(0),
            max,
            counts,
            closed: Notify::new(),
        })
    }

    /// Counts a connection that has been accepted.
    pub(crate) fn enter(self: &Arc<Self>) -> Entry {
        if take_place(&self.open, self.max) {
            self.counts.open.inc();
            return Entry::Open(Open(self.clone()));
        }
        if take_place(&self.refused, REFUSED_MAX) {
            self.counts.refused_answered.inc();
            return Entry::Refused(Refused(self.clone()));
        }
        self.counts.refused_closed.inc();
        Entry::Full
    }

    /// Counts a connection that reads on; `None` when too many do already.
    pub(crate) fn linger(self: &Arc<Self>) -> Option<Lingering> {
        take_place(&self.lingering, LINGERING_MAX).then(|| {
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

    /// How many sockets of clients there are: open and refused. One of a request that goes on without its
    /// client counts on, for the socket to its backend.
    pub(crate) fn sockets(&self) -> usize {
        self.open() + self.refused.load(Ordering::Relaxed) + self.orphaned()
    }

    /// How many requests go on without their clients.
    #[must_use]
    pub fn orphaned(&self) -> usize {
        self.orphaned.load(Ordering::Acquire)
    }

    /// Ends when the last connection is closed, and no request goes on without its client.
    pub async fn wait_for_none(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 && self.orphaned() == 0 {
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
    /// Keeps the place until the client leaves, or all its requests have ended.
    pub(crate) fn into_place(self) -> Arc<Place> {
        Arc::new(Place {
            connections: self.0.clone(),
            open: Mutex::new(Some(self)),
        })
    }
}

impl Place {
    /// Counts a request that goes on without its client; `None` when as many do as there may be
    /// connections.
    pub(crate) fn orphan(&self) -> Option<Orphaned> {
        let connections = &self.connections;
        take_place(&connections.orphaned, connections.max).then(|| Orphaned(connections.clone()))
    }

    /// The connection is closed, whatever still goes on of its requests.
    pub(crate) fn vacate(&self) {
        self.open.lock().take();
    }
}

/// Counts one more, if there is room.
fn take_place(count: &AtomicUsize, max: usize) -> bool {
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

impl Drop for Orphaned {
    fn drop(&mut self) {
        self.0.orphaned.fetch_sub(1, Ordering::AcqRel);
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
    async fn the_bound_holds_and_the_last_one_is_noticed() {
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
    async fn a_request_without_its_client_is_waited_for_and_has_a_bound() {
        let counts = ConnectionCounts::unexposed();
        let connections = Connections::new(1, counts.clone());
        let place = open(&connections).into_place();
        let orphaned = place.orphan().expect("there is room");
        assert!(place.orphan().is_none());
        place.vacate();
        assert_eq!((connections.open(), counts.open.get()), (0, 0));
        assert_eq!(connections.sockets(), 1);
        let waiting = tokio::spawn({
            let connections = connections.clone();
            async move { connections.wait_for_none().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(orphaned);
        waiting.await.expect("noticed");
        assert_eq!(connections.sockets(), 0);
    }

    #[test]
    fn refused_and_lingering_ones_are_bounded_and_counted() {
        let counts = ConnectionCounts::unexposed();
        let connections = Connections::new(0, counts.clone());
        let told: Vec<_> = (0..REFUSED_MAX).map(|_| connections.enter()).collect();
        assert!(told.iter().all(|entry| matches!(entry, Entry::Refused(_))));
        assert!(matches!(connections.enter(), Entry::Full));
        assert_eq!(connections.sockets(), REFUSED_MAX);
        assert_eq!(counts.refused_answered.get(), REFUSED_MAX as u64);
        assert_eq!(counts.refused_closed.get(), 1);
        drop(told);
        assert!(matches!(connections.enter(), Entry::Refused(_)));
        let lingering: Vec<_> = (0..=LINGERING_MAX).map(|_| connections.linger()).collect();
        assert!(lingering[LINGERING_MAX].is_none());
        assert_eq!(counts.lingering.get(), LINGERING_MAX as i64);
        drop(lingering);
        assert_eq!(counts.lingering.get(), 0);
    }
}
