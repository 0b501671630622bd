//! The cache's copy of a response that is being delivered.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::response::Parts;

use crate::answer::copying::{CopyStored, ResponseCopy};
use crate::cache::copy::CopyBuffer;
use crate::cache::{CacheDecision, CacheKey, ResponseCache};
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;

/// A copy, and the key under which it is stored.
pub(super) struct CacheCopy<'a> {
    buffer: CopyBuffer,
    cache: &'a ResponseCache,
    key: CacheKey,
    /// When the request arrived.
    asked_at: Instant,
}

impl<'a> CacheCopy<'a> {
    /// An empty copy, if request and response allow storing one; the head of the response arrived at
    /// `received_at` (since the Unix epoch).
    pub(super) fn of(
        pipeline: &'a RoutePipeline,
        exchange: &Exchange,
        decision: CacheDecision,
        head: &Parts,
        received_at: Duration,
    ) -> Option<Self> {
        let cache = pipeline.cache.as_ref()?;
        let key = decision.key()?;
        let (_, verified) = pipeline.signature_headers(exchange);
        let status = head.status.as_u16();
        let buffer = cache.copy(status, &head.headers, verified, received_at);
        Some(CacheCopy {
            buffer: buffer.ok()?,
            cache,
            key,
            asked_at: exchange.timing.started(),
        })
    }
}

impl ResponseCopy for CacheCopy<'_> {
    fn push(&mut self, piece: &Bytes) {
        self.buffer.push(piece);
    }

    fn ends_with(&self, end: &[u8]) -> bool {
        self.buffer.ends_with(end)
    }

    fn store(&mut self, stored_at: Duration) -> CopyStored {
        match self.buffer.stored(stored_at) {
            Some(stored) => {
                self.cache.store(self.key, stored, self.asked_at);
                CopyStored::Yes
            }
            None => CopyStored::No,
        }
    }

    fn remove(&mut self) {
        self.cache.remove(&self.key);
    }
}
