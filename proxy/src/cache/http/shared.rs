//! The head of a response that is on its way to several requests (request coalescing).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::super::segments::Segments;
use super::conditional;
use super::policy::RequestCredentials;
use super::store::{StorableHead, StoredVariant};

/// The head of a response that is fresh and being stored, as those that follow its request get it.
#[derive(Clone, Debug)]
pub struct HttpHead(Arc<FollowedHead>);

#[derive(Debug)]
struct FollowedHead {
    head: StorableHead,
    age_s: u64,
    length: Option<u64>,
}

impl HttpHead {
    pub(super) fn new(head: StorableHead, received_at: Duration, length: Option<u64>) -> Self {
        HttpHead(Arc::new(FollowedHead {
            age_s: head.age(received_at).as_secs(),
            head,
            length,
        }))
    }

    /// Whether the response serves a request that has been waiting for it.
    pub(super) fn serves(&self, request: &HeaderMap, credentials: RequestCredentials) -> bool {
        self.0.head.serves(request, credentials)
    }

    /// The response without its body, for a request whose condition makes it a 304.
    #[must_use]
    pub fn if_unmodified(&self, request: &HeaderMap) -> Option<StoredVariant> {
        let head = &self.0.head;
        let is_unmodified = head.status() == StatusCode::OK
            && conditional::is_unmodified(request, head.validators());
        is_unmodified.then(|| head.clone().with_body(Segments::default()))
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.head.status()
    }

    #[must_use]
    pub fn head_lines(&self) -> &[u8] {
        self.0.head.lines()
    }

    #[must_use]
    pub fn age_s(&self) -> u64 {
        self.0.age_s
    }

    /// The length of the body, if it is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.0.length
    }
}
