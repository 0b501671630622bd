//! What an endpoint says before its answer (RFC 9110, section 15.2), until the client is told.

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

/// So many heads wait for the client. Past them they are dropped: none is needed to understand the answer.
const WAITING_MAX: usize = 8;

/// Heads that wait. Whoever drives the exchange fills it, and in the same task somebody else empties it.
#[derive(Debug, Default)]
pub struct Early {
    waiting: Mutex<Vec<(StatusCode, HeaderMap)>>,
}

impl Early {
    /// Keeps a head. `100 Continue` is for weir alone.
    pub(super) fn said(&self, status: StatusCode, fields: HeaderMap) {
        let mut waiting = self.waiting.lock();
        if status != StatusCode::CONTINUE && waiting.len() < WAITING_MAX {
            waiting.push((status, fields));
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }

    /// What waits, in the order in which it came.
    #[must_use]
    pub fn take(&self) -> Vec<(StatusCode, HeaderMap)> {
        std::mem::take(&mut *self.waiting.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_heads_wait_and_the_others_are_dropped() {
        let early = Early::default();
        early.said(StatusCode::CONTINUE, HeaderMap::new());
        assert!(early.is_empty());
        for _ in 0..=WAITING_MAX {
            early.said(StatusCode::EARLY_HINTS, HeaderMap::new());
        }
        assert_eq!(early.take().len(), WAITING_MAX);
        assert!(early.is_empty());
    }
}
