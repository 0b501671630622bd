//! The copy of a response that is being delivered, for the HTTP cache.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::http_cache::{HttpFetch, times, with_request};
use super::routing::replace_header;
use super::upstream::Upstream;
use crate::answer::copying::{CopyStored, ResponseCopy};
use crate::cache::http::{ForwardReason, HttpCache, HttpCopy, RequestKey};
use crate::cache::status::CacheStatus;
use crate::exchange::Exchange;
use crate::http::session::Session;

/// The copy of a response for the HTTP cache.
pub(super) struct HttpCacheCopy<'a> {
    copy: HttpCopy,
    cache: &'a HttpCache,
    request_key: RequestKey,
}

impl<'a> HttpCacheCopy<'a> {
    /// An empty copy, if request and response allow storing one; the head arrived at `now`. `Cache-Status` then states
    /// that the response is stored: it is, unless it is cut short.
    pub(super) fn of(
        session: &Session,
        exchange: &mut Exchange,
        upstream: &Upstream,
        fetch: &'a HttpFetch,
        now: Instant,
    ) -> Option<Self> {
        let (cache, request_key, reason) = fetch.storing()?;
        let times = times(exchange, upstream.started_at, now);
        let head = &upstream.response.head;
        let copy = with_request(&upstream.pipeline, session, exchange, |request| {
            cache.copy(request, request_key, head.status, &head.headers, times)
        });
        match copy {
            Ok(copy) => {
                let status = stored_status(reason).header();
                replace_header(exchange, "cache-status", status);
                Some(HttpCacheCopy {
                    copy,
                    cache,
                    request_key: *request_key,
                })
            }
            Err(reason) => {
                log::debug!("a response is not stored: {reason:?}");
                None
            }
        }
    }
}

impl ResponseCopy for HttpCacheCopy<'_> {
    fn push(&mut self, piece: &Bytes) {
        self.copy.push(piece);
    }

    fn ends_with(&self, _end: &[u8]) -> bool {
        false
    }

    fn store(&mut self, _stored_at: Duration) -> CopyStored {
        match self.copy.finish() {
            Some(stored) => {
                self.cache.store(&self.request_key.key, stored);
                CopyStored::Yes
            }
            None => CopyStored::No,
        }
    }

    fn remove(&mut self) {
        self.cache.invalidate(&self.request_key.key);
    }
}

/// The `Cache-Status` of a forwarded response that is stored.
fn stored_status(reason: ForwardReason) -> CacheStatus {
    match reason {
        ForwardReason::Miss => CacheStatus::MissStored,
        ForwardReason::VaryMiss => CacheStatus::VaryMissStored,
        ForwardReason::Stale => CacheStatus::StaleStored,
        ForwardReason::Request => CacheStatus::RefreshStored,
    }
}
