//! The HTTP cache (RFC 9111) of a route with `cache: {http: true}`: a shared cache of what the backend's headers allow.
//!
//! Pure policy and storage: the clock is an argument, and nothing is sent or awaited. `gateway/http_cache.rs` calls it.
//! Only `GET` is stored; `HEAD` is served from it. All stored responses of a URI are one entry of the memory
//! (`store.rs`), under a key of those who share it (`key.rs`); a request selects one of them by `Vary` (`vary.rs`).
//!
//! Every cache is treated as a shared one, whatever its scope: a client may serve users of its own. So nothing is stored
//! that is `private`, that sets a cookie, or whose request had credentials, unless the response is explicitly public
//! (`policy.rs`). A path never decides: cache deception works by paths that look static.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

mod conditional;
mod copy;
mod directives;
mod freshness;
mod head;
mod invalidation;
mod key;
mod lookup;
mod policy;
mod predictor;
mod ranges;
mod request;
mod served;
mod shared;
mod sharing;
mod store;
mod targeted;
#[cfg(test)]
mod tests;
mod vary;

pub use conditional::Validators;
pub use copy::HttpCopy;
pub use freshness::{ReceiptTimes, Shareability};
pub use key::ResourceName;
pub use lookup::{ForwardReason, HitKind, HttpLookup, RequestKey};
pub use policy::{NotStored, RequestCredentials};
pub use served::ServedAs;
pub use shared::{FollowedAs, HttpHead};
pub use store::StoredVariant;

use super::copy_budget::{CopyBudget, CopyShare};
use super::flight::Flights;
use super::memory::{MemoryCounts, MemoryTier};
use super::purge::{PathHash, PurgeTarget};
use super::{BypassReason, CacheKey, Coalescing, Scope, copy_budget, flight_bounds};
use crate::clock;
use directives::{RequestDirectives, UseStored};
use invalidation::Invalidations;
use lookup::MayStore;
use policy::Use;
use predictor::Predictor;
use request::{ConditionsSent, HttpRequestHead};
use store::{Resource, StorableHead};
use vary::Variant;

/// How long a stale response is kept that can only be validated.
const KEPT_STALE: Duration = Duration::from_secs(24 * 3600);

/// The checked `cache` block of a route with an HTTP cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of responses in memory.
    pub memory_bytes: u64,
    pub scope: Scope,
    pub coalescing: Coalescing,
}

/// A request, as the HTTP cache sees it.
#[derive(Clone, Copy)]
pub struct HttpRequest<'a> {
    pub method: &'a Method,
    pub name: ResourceName<'a>,
    pub headers: &'a HeaderMap,
    /// Whether a header is forwarded as the client sent it.
    pub is_forwarded: &'a (dyn Fn(&HeaderName) -> bool + Sync),
    /// Whether weir sets a header anew in each request.
    pub is_replaced: fn(&HeaderName) -> bool,
}

/// The HTTP cache of one route. It is shared by `Arc`: a new generation of the configuration keeps it where its
/// [`Config`] is equal.
pub struct HttpCache {
    memory: MemoryTier<Resource>,
    /// `None` without request coalescing.
    flights: Option<Flights<HttpHead>>,
    predictor: Predictor,
    copies: Arc<CopyBudget>,
    /// Locked before the memory.
    invalidations: Mutex<Invalidations>,
    config: Config,
}

impl HttpCache {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        HttpCache {
            memory: MemoryTier::new(config.memory_bytes),
            flights: match config.coalescing {
                Coalescing::Enabled => Some(Flights::new(flight_bounds(config.memory_bytes))),
                Coalescing::Disabled => None,
            },
            predictor: Predictor::new(),
            copies: copy_budget(config.memory_bytes),
            invalidations: Mutex::new(Invalidations::new()),
            config: *config,
        }
    }

    /// Looks for a stored response at `now` (since the Unix epoch).
    #[must_use]
    pub fn look_up(&self, request: &HttpRequest<'_>, now: Duration) -> HttpLookup {
        if !matches!(*request.method, Method::GET | Method::HEAD) {
            return match request.method.is_safe() {
                true => HttpLookup::Bypass(BypassReason::Method),
                false => HttpLookup::Unsafe,
            };
        }
        let directives = RequestDirectives::of(request.headers);
        if !policy::may_store(&directives) {
            return HttpLookup::Bypass(BypassReason::NoStore);
        }
        let head = HttpRequestHead::read(request.headers, request.is_forwarded);
        let request_key = RequestKey {
            key: key::of(&request.name, self.config.scope, &head.overrides),
            flight: None,
            credentials: head.credentials,
            storing: match *request.method == Method::GET {
                true => MayStore::Yes,
                false => MayStore::No,
            },
        };
        let resource = self.memory.get(&request_key.key);
        let selected = resource
            .as_ref()
            .and_then(|resource| resource.select(request.headers, request_key.credentials));
        let is_only = directives.use_stored == UseStored::Only;
        let Some(stored) = selected else {
            let (newest, reason) = match &resource {
                _ if is_only => return HttpLookup::NotCached,
                Some(resource) => (resource.newest(), ForwardReason::VaryMiss),
                None => (None, ForwardReason::Miss),
            };
            let request_key = self.shared(request_key, request, (newest, ConditionsSent::Own));
            return HttpLookup::Forward(request_key, reason, None);
        };
        let usable = stored.usable(&directives, now);
        let stored = stored.clone();
        match usable {
            Use::Fresh => HttpLookup::Hit(request_key.key, stored, HitKind::Fresh),
            Use::Stale => HttpLookup::Hit(request_key.key, stored, HitKind::Stale),
            Use::WhileRevalidating if is_only => {
                HttpLookup::Hit(request_key.key, stored, HitKind::Stale)
            }
            Use::WhileRevalidating => {
                let storing = MayStore::Yes;
                HttpLookup::Revalidate(
                    RequestKey {
                        storing,
                        ..request_key
                    },
                    stored,
                )
            }
            Use::Validated | Use::ValidatedByRequest if is_only => HttpLookup::NotCached,
            Use::Validated => {
                let conditions = match stored.validators().is_empty() {
                    true => ConditionsSent::Own,
                    false => ConditionsSent::Replaced,
                };
                let known = (Some(&*stored), conditions);
                let request_key = self.shared(request_key, request, known);
                HttpLookup::Forward(request_key, ForwardReason::Stale, Some(stored))
            }
            Use::ValidatedByRequest => {
                HttpLookup::Forward(request_key, ForwardReason::Request, Some(stored))
            }
        }
    }

    /// An empty copy of the response to a request, whose head has arrived.
    ///
    /// # Errors
    /// Why it is not stored.
    pub fn copy(
        &self,
        request: &HttpRequest<'_>,
        request_key: &RequestKey,
        status: StatusCode,
        headers: &HeaderMap,
        times: ReceiptTimes,
    ) -> Result<HttpCopy, NotStored> {
        if request_key.storing == MayStore::No {
            return Err(NotStored::Request);
        }
        let variant = Variant::of(headers, request.headers, request.is_replaced);
        let credentials = request_key.credentials;
        let head = StorableHead::of(status, headers, variant, credentials, times)?;
        let announced = store::announced_bytes(headers);
        let room = self
            .response_bytes_max()
            .checked_sub(store::OVERHEAD + head.bytes());
        let room = room.ok_or(NotStored::TooLarge)?;
        if announced.is_some_and(|bytes| bytes > room) {
            return Err(NotStored::TooLarge);
        }
        let head = head.of_path(PathHash::of(request.name.path));
        let bounds = (room, CopyShare::of(&self.copies));
        Ok(HttpCopy::new(head, times.received_at, announced, bounds))
    }

    /// Stores a complete response, unless the cache has been purged, or its URI invalidated, since its request arrived
    /// (`asked_at`).
    pub fn store(&self, key: &CacheKey, response: StoredVariant, asked_at: Instant) {
        let invalidations = self.invalidations.lock();
        if invalidations.may_be_since(key, asked_at) {
            return;
        }
        let response = Arc::new(response);
        let none = Resource::default();
        self.memory.update(key, asked_at, |resource| {
            Some(resource.unwrap_or(&none).with(response))
        });
    }

    /// Updates the head of `validated` by the 304 that the backend responded with, and of all others that are the same
    /// representation (RFC 9111, section 4.3.4). Returns the response that serves the request.
    #[must_use]
    pub fn freshen(
        &self,
        key: &CacheKey,
        validated: &Arc<StoredVariant>,
        headers: &HeaderMap,
        times: ReceiptTimes,
    ) -> Arc<StoredVariant> {
        if !validated.validators().are_confirmed_by(headers) {
            // It is about another response: what is stored is not known to be valid.
            self.invalidate(key);
            return validated.clone();
        }
        let update = |stored: &Arc<StoredVariant>| match stored.updated(headers, times) {
            Ok(updated) => (Arc::new(updated), MayStore::Yes),
            Err(_) => (stored.clone(), MayStore::No),
        };
        let (served, storing) = update(validated);
        // What has been purged is not there any more.
        self.memory.update(key, clock::now(), |resource| {
            resource?.changed(|stored| {
                let is_same = stored.validators().are_of_same(validated.validators());
                // One that has replaced it in the meantime is newer.
                if Arc::ptr_eq(stored, validated) {
                    (storing == MayStore::Yes).then(|| served.clone())
                } else if is_same {
                    let (updated, storing) = update(stored);
                    (storing == MayStore::Yes).then_some(updated)
                } else {
                    Some(stored.clone())
                }
            })
        });
        served
    }

    /// Removes all responses of a URI.
    pub fn invalidate(&self, key: &CacheKey) {
        let mut invalidations = self.invalidations.lock();
        invalidations.note(*key, clock::now());
        self.memory.remove(key);
        drop(invalidations);
        // Nobody joins a request that was sent before.
        self.flights.iter().for_each(Flights::close);
    }

    /// After a successful response to an unsafe method: removes the responses of its URI, and of those that `Location`
    /// and `Content-Location` name on the same host (RFC 9111, section 4.4).
    pub fn invalidate_after(
        &self,
        request: &HttpRequest<'_>,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        if !(status.is_success() || status.is_redirection()) {
            return;
        }
        let name = &request.name;
        let head = HttpRequestHead::read(request.headers, request.is_forwarded);
        let overrides = head.overrides_of_uri();
        let key = |name: &ResourceName<'_>| key::of(name, self.config.scope, &overrides);
        self.invalidate(&key(name));
        for field in [header::LOCATION, header::CONTENT_LOCATION] {
            let target = headers.get(field).and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| invalidation::target(name, target));
            if let Some((path, query)) = target {
                let name = ResourceName {
                    path: &path,
                    query: &query,
                    ..*name
                };
                self.invalidate(&key(&name));
            }
        }
    }

    /// Removes responses that are of no use at `now` (since the Unix epoch); called on a timer.
    pub fn remove_expired(&self, now: Duration) {
        self.memory
            .remove_expired(|resource| resource.is_expired(now, KEPT_STALE));
    }

    /// The largest response that is stored: an eighth of the memory.
    fn response_bytes_max(&self) -> usize {
        usize::try_from(self.config.memory_bytes / 8).unwrap_or(usize::MAX)
    }

    /// Removes all responses, those to requests for a path, or those of one URI by the key that an event has; returns
    /// the number of URIs. Responses to requests that have arrived before are not stored afterwards.
    pub fn purge(&self, target: &PurgeTarget) -> u64 {
        self.flights.iter().for_each(Flights::close);
        self.memory.purge(target, clock::now())
    }

    /// What the memory holds, and has removed since the last call.
    #[must_use]
    pub fn take_counts(&self) -> MemoryCounts {
        self.memory.take_counts()
    }

    /// Bytes held, for `weir_cache_bytes`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.bytes()
    }
}

impl std::fmt::Debug for HttpCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HttpCache")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
