//! The cache's copy of a response that is being delivered, and the equal requests that share the response.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::response::Parts;
use tokio::sync::Notify;

use super::coalesce::{ResponseLead, WaitingRequests};
use super::upstream::Storing;
use crate::answer::copying::{CopyEnd, CopyStored, Followers, ResponseCopy};
use crate::cache::copy::CopyBuffer;
use crate::cache::flight::{Lead, ResponseEnd};
use crate::cache::redis_tier::{Lease, RedisTier};
use crate::cache::{CacheKey, CachedResponse, Insertion, ResponseCache};
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::retry_after::retry_after;
use crate::refusal::{ErrorCode, Refusal};

/// A copy, and the key under which it is stored.
pub(super) struct CacheCopy<'a> {
    buffer: CopyBuffer,
    cache: &'a ResponseCache,
    /// `None` if the response is only shared.
    key: Option<CacheKey>,
    /// When the request arrived.
    asked_at: Instant,
    lead: Option<ResponseLead>,
    /// Boxed: most routes have none.
    redis: Option<Box<RedisCopy<'a>>>,
}

/// What is written to Redis once the response has been delivered.
struct RedisCopy<'a> {
    tier: &'a RedisTier,
    key: CacheKey,
    asked_at: Instant,
    lease: Option<Lease>,
    stored: Option<CachedResponse>,
}

impl<'a> CacheCopy<'a> {
    /// An empty copy, if request and response allow storing or sharing one; the head of the response arrived at
    /// `received_at` (since the Unix epoch), and its body has this length. Requests that follow learn what it is.
    pub(super) fn of(
        pipeline: &'a RoutePipeline,
        exchange: &Exchange,
        (storing, waiting): (Storing, WaitingRequests),
        (head, length): (&Parts, Option<u64>),
        received_at: Duration,
    ) -> Option<Self> {
        let cache = pipeline.cache.as_ref()?;
        let WaitingRequests { mut lead, lease } = waiting;
        let key = storing.key();
        if key.is_none() && lead.is_none() {
            return None;
        }
        let (_, verified) = pipeline.signature_headers(exchange);
        let status = head.status.as_u16();
        let buffer = cache
            .copy(status, &head.headers, verified, received_at)
            .ok();
        if let Some(lead) = &mut lead {
            let shared = buffer
                .as_ref()
                .and_then(|buffer| buffer.shared_head(length));
            match shared {
                Some(shared) => lead.begin(shared),
                None => decline(lead, exchange, head),
            }
        }
        Some(CacheCopy {
            buffer: buffer?,
            cache,
            key,
            asked_at: exchange.timing.started(),
            lead,
            redis: (pipeline.redis_tier.as_ref()).zip(key).map(|(tier, key)| {
                Box::new(RedisCopy {
                    tier,
                    key,
                    asked_at: exchange.timing.started(),
                    lease,
                    stored: None,
                })
            }),
        })
    }
}

impl From<CopyEnd> for ResponseEnd {
    fn from(end: CopyEnd) -> Self {
        match end {
            CopyEnd::Whole(failure) => ResponseEnd::Whole(failure),
            CopyEnd::Cut(code) => ResponseEnd::Cut(code),
        }
    }
}

/// A response that is not shared: a failure may be followed by another attempt.
pub(super) fn decline<H>(lead: &mut Lead<H>, exchange: &Exchange, head: &Parts) {
    if !head.status.is_server_error() {
        return lead.set_apart();
    }
    let backend = exchange.upstream.as_ref();
    let backend = backend.map_or("", |upstream| &*upstream.backend);
    let status = head.status.as_u16();
    let detail = format!("backend {backend} responded with {status} to an equal request");
    let mut refusal = Refusal::new(ErrorCode::UpstreamStatus, detail);
    refusal.status = Some(head.status);
    refusal.retry_after_s =
        retry_after(&head.headers, exchange.received_at).map(|wait| wait.as_secs());
    lead.fail(refusal);
}

impl ResponseCopy for CacheCopy<'_> {
    fn push(&mut self, piece: &Bytes) {
        match &mut self.lead {
            Some(lead) => self.buffer.push_shared(piece, |shared| lead.push(shared)),
            None => self.buffer.push(piece),
        }
    }

    fn ends_with(&self, end: &[u8]) -> bool {
        self.buffer.ends_with(end)
    }

    fn store(&mut self, stored_at: Duration) -> CopyStored {
        match (self.key, self.buffer.stored(stored_at)) {
            (Some(key), Some(stored)) => {
                if let Some(redis) = &mut self.redis {
                    redis.stored = Some(stored.clone());
                }
                match self.cache.store(key, stored, self.asked_at) {
                    Insertion::Stored => CopyStored::Yes,
                    Insertion::Refused => CopyStored::No,
                }
            }
            _ => CopyStored::No,
        }
    }

    fn remove(&mut self) {
        if let Some(redis) = &mut self.redis {
            redis.stored = None;
        }
        if let Some(key) = &self.key {
            self.cache.remove(key);
        }
    }

    fn end(&mut self, end: CopyEnd) {
        if let Some(lead) = &mut self.lead {
            lead.end(end.into());
        }
    }

    fn followers(&self) -> Option<&dyn Followers> {
        let lead = self.lead.as_ref()?;
        Some(lead)
    }
}

impl<H: Send + Sync> Followers for Lead<H> {
    fn are_any(&self) -> bool {
        self.is_followed()
    }

    fn have_room(&self) -> bool {
        self.has_room()
    }

    fn bytes_ahead_max(&self) -> usize {
        Lead::bytes_ahead_max(self)
    }

    fn bytes_ahead(&self) -> Arc<AtomicUsize> {
        Lead::bytes_ahead(self)
    }

    fn changed(&self) -> Arc<Notify> {
        self.followed()
    }
}

impl Drop for RedisCopy<'_> {
    fn drop(&mut self) {
        if let Some(stored) = self.stored.take() {
            let lease = self.lease.take();
            self.tier
                .write_behind(self.key, stored, lease, self.asked_at);
        }
    }
}
