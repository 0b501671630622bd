//! The id of one request: in its event, its response, and the request to the backend.

use std::time::Duration;

use crate::random;

/// A request's ULID: 26 characters, of which the first ten are the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId([u8; ulid::ULID_LEN]);

impl RequestId {
    /// A new id, for a request that arrived `at` (since the Unix epoch).
    #[must_use]
    pub fn new(at: Duration) -> Self {
        let milliseconds = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let mut text = [0; ulid::ULID_LEN];
        ulid::Ulid::from_parts(milliseconds, random::bits()).array_to_str(&mut text);
        RequestId(text)
    }

    #[cfg(test)]
    pub(crate) fn fixed(text: &str) -> Self {
        RequestId(text.as_bytes().try_into().expect("26 characters"))
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; ulid::ULID_LEN] {
        &self.0
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        // Crockford's Base32 is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}
