//! Informational (1xx) responses (RFC 9110, section 15.2) between their arrival and their delivery to the client.

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

/// How many wait for the client. More are dropped: none is needed to understand the final response.
const WAITING_MAX: usize = 8;

/// Those that wait. They are added and taken within one task.
#[derive(Debug, Default)]
pub struct InformationalResponses {
    waiting: Mutex<Vec<(StatusCode, HeaderMap)>>,
}

impl InformationalResponses {
    /// Adds one, but no `100 Continue`, which is for weir alone.
    pub(super) fn push(&self, status: StatusCode, fields: HeaderMap) {
        let mut waiting = self.waiting.lock();
        if status != StatusCode::CONTINUE && waiting.len() < WAITING_MAX {
            waiting.push((status, fields));
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }

    /// Those that wait, in the order of their arrival.
    #[must_use]
    pub fn take(&self) -> Vec<(StatusCode, HeaderMap)> {
        std::mem::take(&mut *self.waiting.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_few_responses_wait() {
        let informational = InformationalResponses::default();
        informational.push(StatusCode::CONTINUE, HeaderMap::new());
        assert!(informational.is_empty());
        for _ in 0..=WAITING_MAX {
            informational.push(StatusCode::EARLY_HINTS, HeaderMap::new());
        }
        assert_eq!(informational.take().len(), WAITING_MAX);
        assert!(informational.is_empty());
    }
}
