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
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

mod conditional;
mod copy;
mod directives;
mod freshness;
mod head;
mod invalidation;
mod key;
mod policy;
mod ranges;
mod served;
mod store;
mod targeted;
#[cfg(test)]
mod tests;
mod vary;

pub use conditional::Validators;
pub use copy::HttpCopy;
pub use freshness::ReceiptTimes;
pub use key::ResourceName;
pub use policy::{Credentials, NotStorable};
pub use served::Served;
pub use store::StoredResponse;

use super::memory::MemoryTier;
use super::{CacheKey, ENTRY_OVERHEAD, Scope};
use directives::{RequestDirectives, UseStored};
use policy::Use;
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

/// What the HTTP cache knows of a request beside its head.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey {
    pub key: CacheKey,
    credentials: Credentials,
    storing: MayStore,
}

/// Whether the response to a request may be stored, as far as the request decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayStore {
    Yes,
    No,
}

/// The result of a lookup.
#[derive(Debug)]
pub enum Lookup {
    /// The stored response serves the request.
    Hit(Arc<StoredResponse>, HitKind),
    /// The request is forwarded. The backend may validate the response that was found.
    Forward(RequestKey, ForwardReason, Option<Arc<StoredResponse>>),
    /// The request accepts a stored response only, and there is none.
    NotCached,
    /// The cache is not involved.
    Bypass,
    /// The method is unsafe: a successful response invalidates what is stored.
    Unsafe,
}

/// How a hit may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitKind {
    Fresh,
    Stale,
    /// Stale, and to be revalidated in the background.
    StaleWhileRevalidating,
}

/// Why a request is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardReason {
    Miss,
    /// There are responses of the URI, and the request selects none of them.
    VaryMiss,
    Stale,
    /// Its directives ask for it.
    Request,
}

/// The HTTP cache of one route. It is shared by `Arc`: a new generation of the configuration keeps it where its
/// [`Config`] is equal.
pub struct HttpCache {
    memory: MemoryTier<Resource>,
    config: Config,
}

impl HttpCache {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        HttpCache {
            memory: MemoryTier::new(config.memory_bytes),
            config: *config,
        }
    }

    /// Looks for a stored response at `now` (since the Unix epoch).
    #[must_use]
    pub fn look_up(&self, request: &HttpRequest<'_>, now: Duration) -> Lookup {
        if !matches!(*request.method, Method::GET | Method::HEAD) {
            return match request.method.is_safe() {
                true => Lookup::Bypass,
                false => Lookup::Unsafe,
            };
        }
        let directives = RequestDirectives::of(request.headers);
        if !policy::may_store(&directives) {
            return Lookup::Bypass;
        }
        let forwarded = request.headers.keys();
        let request_key = RequestKey {
            key: key::of(&request.name, self.config.scope),
            credentials: Credentials::of(forwarded.filter(|name| (request.is_forwarded)(name))),
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
            return match resource {
                _ if is_only => Lookup::NotCached,
                Some(_) => Lookup::Forward(request_key, ForwardReason::VaryMiss, None),
                None => Lookup::Forward(request_key, ForwardReason::Miss, None),
            };
        };
        let usable = policy::usable(&stored.freshness, &stored.directives, &directives, now);
        let stored = stored.clone();
        match usable {
            Use::Fresh => Lookup::Hit(stored, HitKind::Fresh),
            Use::Stale => Lookup::Hit(stored, HitKind::Stale),
            Use::WhileRevalidating if is_only => Lookup::Hit(stored, HitKind::Stale),
            Use::WhileRevalidating => Lookup::Hit(stored, HitKind::StaleWhileRevalidating),
            Use::Validated | Use::ValidatedByRequest if is_only => Lookup::NotCached,
            Use::Validated => Lookup::Forward(request_key, ForwardReason::Stale, Some(stored)),
            Use::ValidatedByRequest => {
                Lookup::Forward(request_key, ForwardReason::Request, Some(stored))
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
    ) -> Result<HttpCopy, NotStorable> {
        if request_key.storing == MayStore::No {
            return Err(NotStorable::Request);
        }
        let variant = Variant::of(headers, request.headers, request.is_replaced);
        let credentials = request_key.credentials;
        let head = StorableHead::of(status, headers, variant, credentials, times)?;
        let announced = store::announced_bytes(headers);
        let room = self
            .response_bytes_max()
            .checked_sub(ENTRY_OVERHEAD + head.bytes());
        let room = room.ok_or(NotStorable::TooLarge)?;
        if announced.is_some_and(|bytes| bytes > room) {
            return Err(NotStorable::TooLarge);
        }
        Ok(HttpCopy::new(head, announced, room))
    }

    /// Stores a complete response.
    pub fn store(&self, key: &CacheKey, response: StoredResponse) {
        let response = Arc::new(response);
        let none = Resource::default();
        self.memory.update(key, |resource| {
            Some(resource.unwrap_or(&none).with(response))
        });
    }

    /// Updates the head of `validated` by the 304 that the backend responded with, and of all others that are the same
    /// representation (RFC 9111, section 4.3.4). Returns the response that serves the request.
    #[must_use]
    pub fn freshen(
        &self,
        key: &CacheKey,
        validated: &Arc<StoredResponse>,
        headers: &HeaderMap,
        times: ReceiptTimes,
    ) -> Arc<StoredResponse> {
        if !validated.validators.are_confirmed_by(headers) {
            // It is about another response: what is stored is not known to be valid.
            self.invalidate(key);
            return validated.clone();
        }
        let update = |stored: &Arc<StoredResponse>| match stored.updated(headers, times) {
            Ok(updated) => (Arc::new(updated), MayStore::Yes),
            Err(_) => (stored.clone(), MayStore::No),
        };
        let (served, storing) = update(validated);
        self.memory.update(key, |resource| {
            let changed = resource?.changed(|stored| {
                let is_same = stored.validators.are_of_same(&validated.validators);
                if stored.variant == validated.variant {
                    (storing == MayStore::Yes).then(|| served.clone())
                } else if is_same {
                    let (updated, storing) = update(stored);
                    (storing == MayStore::Yes).then_some(updated)
                } else {
                    Some(stored.clone())
                }
            });
            changed
        });
        served
    }

    /// Removes all responses of a URI.
    pub fn invalidate(&self, key: &CacheKey) {
        self.memory.remove(key);
    }

    /// After a successful response to an unsafe method: removes the responses of its URI, and of those that `Location`
    /// and `Content-Location` name on the same host (RFC 9111, section 4.4).
    pub fn invalidate_after(
        &self,
        name: &ResourceName<'_>,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        if !(status.is_success() || status.is_redirection()) {
            return;
        }
        self.invalidate(&key::of(name, self.config.scope));
        for field in [header::LOCATION, header::CONTENT_LOCATION] {
            let target = headers.get(field).and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| invalidation::target(name, target));
            if let Some((path, query)) = target {
                let name = ResourceName {
                    path: &path,
                    query: &query,
                    ..*name
                };
                self.invalidate(&key::of(&name, self.config.scope));
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
