//! Informational (1xx) responses (RFC 9110, section 15.2) between their arrival and their delivery to the client.

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

/// How many may be queued for the client. More are dropped: the final response does not depend on them.
const QUEUED_MAX: usize = 8;

/// The queue, used within one task.
#[derive(Debug, Default)]
pub struct InformationalResponses {
    queued: Mutex<Vec<(StatusCode, HeaderMap)>>,
}

impl InformationalResponses {
    /// Queues one, unless it is a `100 Continue`, which is for weir alone.
    pub(super) fn push(&self, status: StatusCode, fields: HeaderMap) {
        let mut queued = self.queued.lock();
        if status != StatusCode::CONTINUE && queued.len() < QUEUED_MAX {
            queued.push((status, fields));
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued.lock().is_empty()
    }

    /// Takes all queued responses, in order of arrival.
    #[must_use]
    pub fn take(&self) -> Vec<(StatusCode, HeaderMap)> {
        std::mem::take(&mut *self.queued.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded() {
        let informational = InformationalResponses::default();
        informational.push(StatusCode::CONTINUE, HeaderMap::new());
        assert!(informational.is_empty());
        for _ in 0..=QUEUED_MAX {
            informational.push(StatusCode::EARLY_HINTS, HeaderMap::new());
        }
        assert_eq!(informational.take().len(), QUEUED_MAX);
        assert!(informational.is_empty());
    }
}
