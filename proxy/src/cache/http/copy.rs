//! The copy of a response that is made while it is delivered: it is stored once its body is known to be complete.

use bytes::Bytes;

use super::store::{StorableHead, StoredResponse};

/// The copy of one response. As soon as it is larger than what is stored, it is freed.
#[derive(Debug)]
pub struct HttpCopy {
    head: Option<StorableHead>,
    body: Vec<u8>,
    bytes_max: usize,
}

impl HttpCopy {
    pub(super) fn new(head: StorableHead, announced: Option<usize>, bytes_max: usize) -> Self {
        HttpCopy {
            head: Some(head),
            body: Vec::with_capacity(announced.unwrap_or(0).min(bytes_max)),
            bytes_max,
        }
    }

    /// Adds a piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        if self.head.is_none() {
            return;
        }
        if self.body.len() + piece.len() > self.bytes_max {
            self.head = None;
            self.body = Vec::new();
            return;
        }
        self.body.extend_from_slice(piece);
    }

    /// The response, once; `None` if its body was too large.
    #[must_use]
    pub fn finish(&mut self) -> Option<StoredResponse> {
        let head = self.head.take()?;
        let mut body = std::mem::take(&mut self.body);
        body.shrink_to_fit();
        Some(head.with_body(Bytes::from(body)))
    }
}
