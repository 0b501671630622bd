//! The head of a response that is on its way to several requests (request coalescing).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::super::segments::Segments;
use super::conditional;
use super::policy::RequestCredentials;
use super::ranges::{self, RangePart};
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

/// What a request gets of a response that is on its way.
#[derive(Debug)]
pub enum FollowedAs {
    Whole,
    /// 206.
    Part(Range<usize>),
    /// 304: the response without its body.
    NotModified(Box<StoredVariant>),
    /// A part that cannot be known yet, or is not there: it is forwarded.
    Unserved,
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

    /// What a request gets of the response that has been waiting for it.
    #[must_use]
    pub fn served_as(&self, request: &HeaderMap) -> FollowedAs {
        let head = &self.0.head;
        if head.status() != StatusCode::OK {
            return FollowedAs::Whole;
        }
        if conditional::is_unmodified(request, head.validators()) {
            return FollowedAs::NotModified(Box::new(head.clone().with_body(Segments::default())));
        }
        let Some(range) = request.get(header::RANGE) else {
            return FollowedAs::Whole;
        };
        if !conditional::allows_part(request.get(header::IF_RANGE), head.validators()) {
            return FollowedAs::Whole;
        }
        let length = self
            .0
            .length
            .and_then(|length| usize::try_from(length).ok());
        match length.map(|length| ranges::part(range.as_bytes(), length)) {
            Some(RangePart::Whole) => FollowedAs::Whole,
            Some(RangePart::Of(part)) => FollowedAs::Part(part),
            Some(RangePart::Unsatisfiable) | None => FollowedAs::Unserved,
        }
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
