//! The copy of a response that is made while it is delivered: it is stored once its body is known to be complete.

use std::time::Duration;

use super::super::copy_budget::CopyShare;
use super::super::segments::SegmentBuffer;
use super::freshness::Shareability;
use super::shared::HttpHead;
use super::store::{StorableHead, StoredVariant};

/// The copy of one response. As soon as it is larger than what is stored, or all copies together are, it is freed.
#[derive(Debug)]
pub struct HttpCopy {
    head: Option<StorableHead>,
    body: SegmentBuffer,
    bytes_max: usize,
    share: CopyShare,
    /// When the head arrived, since the Unix epoch.
    received_at: Duration,
}

impl HttpCopy {
    pub(super) fn new(
        head: StorableHead,
        received_at: Duration,
        announced: Option<usize>,
        (bytes_max, share): (usize, CopyShare),
    ) -> Self {
        HttpCopy {
            head: Some(head),
            received_at,
            body: SegmentBuffer::with_room(0, announced.unwrap_or(0).min(bytes_max)),
            bytes_max,
            share,
        }
    }

    /// Whether the response can be shared.
    #[must_use]
    pub fn sharing(&self) -> Shareability {
        let head = self.head.as_ref();
        head.map_or(Shareability::Impossible, |head| {
            head.sharing(self.received_at)
        })
    }

    /// The head for requests that share the response, whose body has this length.
    #[must_use]
    pub fn shared_head(&self, length: Option<u64>) -> Option<HttpHead> {
        let head = self.head.as_ref()?;
        Some(HttpHead::new(head.clone(), self.received_at, length))
    }

    /// Adds a piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        if self.head.is_none() {
            return;
        }
        if self.body.len() + piece.len() > self.bytes_max || !self.share.grow(piece.len()) {
            self.head = None;
            self.body = SegmentBuffer::default();
            self.share.release();
            return;
        }
        self.body.push(piece);
    }

    /// The response, once; `None` if its body was too large.
    #[must_use]
    pub fn finish(&mut self) -> Option<StoredVariant> {
        let head = self.head.take()?;
        Some(head.with_body(self.body.share()))
    }
}
