//! The cache's copy of a response that is being delivered.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;

use crate::answer::copying::{CopyStored, ResponseCopy};
use crate::cache::copy::CopyBuffer;
use crate::cache::redis_tier::{Lease, RedisTier};
use crate::cache::{CacheDecision, CacheKey, CachedResponse, ResponseCache};
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;

/// A copy, and the key under which it is stored.
pub(super) struct CacheCopy<'a> {
    buffer: CopyBuffer,
    cache: &'a ResponseCache,
    key: CacheKey,
    shared: Option<SharedCopy<'a>>,
}

/// What is written to Redis once the response has been delivered.
struct SharedCopy<'a> {
    tier: &'a RedisTier,
    key: CacheKey,
    lease: Option<Lease>,
    stored: Option<CachedResponse>,
}

impl<'a> CacheCopy<'a> {
    /// An empty copy, if request and response allow storing one; the head of the response arrived at
    /// `received_at` (since the Unix epoch).
    pub(super) fn of(
        pipeline: &'a RoutePipeline,
        exchange: &Exchange,
        (decision, lease): (CacheDecision, Option<Lease>),
        head: &Parts,
        received_at: Duration,
    ) -> Option<Self> {
        let cache = pipeline.cache.as_ref()?;
        let (CacheDecision::Lookup(key) | CacheDecision::Refresh(key)) = decision else {
            return None;
        };
        let (_, verified) = pipeline.signature_headers(exchange);
        let status = head.status.as_u16();
        let buffer = cache.copy(status, &head.headers, verified, received_at);
        Some(CacheCopy {
            buffer: buffer.ok()?,
            cache,
            key,
            shared: pipeline.redis_tier.as_ref().map(|tier| SharedCopy {
                tier,
                key,
                lease,
                stored: None,
            }),
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
                if let Some(shared) = &mut self.shared {
                    shared.stored = Some(stored.clone());
                }
                self.cache.store(self.key, stored);
                CopyStored::Yes
            }
            None => CopyStored::No,
        }
    }

    fn remove(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.stored = None;
        }
        self.cache.remove(&self.key);
    }
}

impl Drop for SharedCopy<'_> {
    fn drop(&mut self) {
        if let Some(stored) = self.stored.take() {
            let lease = self.lease.take();
            self.tier.write_behind(self.key, stored, lease);
        }
    }
}
