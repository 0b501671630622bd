//! The copy of a response that is being delivered, for the HTTP cache.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::http_cache::{HttpFetch, HttpLead, times, with_request};
use super::routing::set_cache_status;
use super::upstream::Upstream;
use crate::answer::copying::{CopyEnd, CopyStored, Followers, ResponseCopy};
use crate::cache::copy::shareable;
use crate::cache::http::{ForwardReason, HttpCopy, Shareability};
use crate::cache::status::CacheStatus;
use crate::exchange::Exchange;
use crate::http::session::Session;

/// The copy of a response for the HTTP cache, and for the requests that share it.
pub(super) struct HttpCacheCopy {
    copy: HttpCopy,
    fetch: Box<HttpFetch>,
    lead: Option<HttpLead>,
    /// When the request arrived.
    asked_at: Instant,
}

impl HttpCacheCopy {
    /// An empty copy, if request and response allow storing one; the head arrived at `now`. `Cache-Status` then states
    /// that the response is stored: it is, unless it is cut short. Requests that follow learn what it is.
    /// Boxed: every request in flight would have room for it.
    pub(super) fn of(
        session: &Session,
        exchange: &mut Exchange,
        upstream: &Upstream,
        mut fetch: Box<HttpFetch>,
        now: Instant,
    ) -> Option<Box<Self>> {
        let (cache, request_key, reason) = fetch.storing()?;
        let times = times(exchange, upstream.started_at, now);
        let head = &upstream.response.head;
        let copy = with_request(&upstream.pipeline, session, exchange, |request| {
            cache.copy(request, request_key, head.status, &head.headers, times)
        });
        let copy = match copy {
            Ok(copy) => copy,
            Err(reason) => {
                log::debug!("a response is not stored: {reason:?}");
                let sharing = match head.status.is_server_error() {
                    true => Shareability::NotNow,
                    false => Shareability::Impossible,
                };
                fetch.settle(sharing, times.received_at);
                return None;
            }
        };
        set_cache_status(exchange, stored_status(reason));
        let sharing = copy.sharing();
        let mut lead = match sharing {
            Shareability::Possible => fetch.take_lead(),
            Shareability::NotNow | Shareability::Impossible => None,
        };
        fetch.settle(sharing, times.received_at);
        if let (Some(lead), Some(head)) = (&mut lead, copy.shared_head(upstream.framing.length)) {
            lead.begin(head);
        }
        Some(Box::new(HttpCacheCopy {
            copy,
            fetch,
            lead,
            asked_at: exchange.timing.started(),
        }))
    }
}

impl ResponseCopy for HttpCacheCopy {
    fn push(&mut self, piece: &Bytes) {
        if let Some(lead) = &mut self.lead {
            lead.push(shareable(piece));
        }
        self.copy.push(piece);
    }

    fn ends_with(&self, _end: &[u8]) -> bool {
        false
    }

    fn store(&mut self, _stored_at: Duration) -> CopyStored {
        match (self.copy.finish(), self.fetch.storing()) {
            (Some(stored), Some((cache, request_key, _))) => {
                cache.store(&request_key.key, stored, self.asked_at);
                CopyStored::Yes
            }
            _ => CopyStored::No,
        }
    }

    fn remove(&mut self) {
        if let Some((cache, request_key, _)) = self.fetch.storing() {
            cache.invalidate(&request_key.key);
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

/// The `Cache-Status` of a forwarded response that is stored.
fn stored_status(reason: ForwardReason) -> CacheStatus {
    match reason {
        ForwardReason::Miss => CacheStatus::MissStored,
        ForwardReason::VaryMiss => CacheStatus::VaryMissStored,
        ForwardReason::Stale => CacheStatus::StaleStored,
        ForwardReason::Request => CacheStatus::RefreshStored,
    }
}
