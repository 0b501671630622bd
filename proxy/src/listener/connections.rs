//! How many connections are open, and that there are never too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The count of open connections, with its bound.
#[derive(Debug)]
pub struct Connections {
    open: AtomicUsize,
    max: usize,
    closed: Notify,
}

/// One open connection; dropping it is closing.
#[derive(Debug)]
pub(crate) struct Open(Arc<Connections>);

impl Connections {
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Connections {
            open: AtomicUsize::new(0),
            max,
            closed: Notify::new(),
        })
    }

    /// `None` when as many as may be are open.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Open> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(self.clone());
        (before < self.max).then_some(open)
    }

    /// How many are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Ends when the last connection is closed.
    pub async fn wait_for_none(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.closed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bound_holds_and_the_last_one_is_noticed() {
        let connections = Connections::new(2);
        let first = connections.enter().expect("first");
        let second = connections.enter().expect("second");
        assert!(connections.enter().is_none());
        assert_eq!(connections.open(), 2);
        let waiting = tokio::spawn({
            let connections = connections.clone();
            async move { connections.wait_for_none().await }
        });
        drop(first);
        drop(second);
        waiting.await.expect("noticed");
        assert!(connections.enter().is_some());
    }
}
