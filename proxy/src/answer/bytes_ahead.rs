//! What is read of responses ahead of clients that read slowly and that others follow: bounded together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that were read ahead of a client for its followers, among those of all clients that others follow.
#[derive(Default)]
pub(crate) struct BytesAhead {
    bytes: usize,
    all: Option<Arc<AtomicUsize>>,
}

impl BytesAhead {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, bytes: usize, all: Arc<AtomicUsize>) {
        self.bytes += bytes;
        all.fetch_add(bytes, Ordering::Relaxed);
        self.all = Some(all);
    }

    /// A piece is written; it may have been read ahead for another reason.
    pub(super) fn remove(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if let Some(all) = &self.all {
            all.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for BytesAhead {
    fn drop(&mut self) {
        self.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clients_together_are_counted_until_they_have_read_or_left() {
        let all = Arc::new(AtomicUsize::new(0));
        let (mut one, mut other) = (BytesAhead::default(), BytesAhead::default());
        one.add(10, all.clone());
        other.add(5, all.clone());
        one.remove(4);
        assert_eq!((one.bytes(), all.load(Ordering::Relaxed)), (6, 11));
        // A piece that was read ahead before there were followers is not counted.
        other.remove(100);
        drop(one);
        assert_eq!((other.bytes(), all.load(Ordering::Relaxed)), (0, 0));
    }
}
