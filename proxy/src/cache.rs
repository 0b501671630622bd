//! Stage five: is the answer known.
//!
//! It keeps whole, successful answers in memory, bounded by their bytes, least recently used first
//! to go. It never keeps what is not JSON, and never shares an answer beyond its scope. Only `POST`
//! with a JSON object is looked for: a `GET` says nothing of what changes its answer, and has RFC
//! 9111 instead (`cache.http`).

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

mod canonical;
mod control;
pub mod copy;
mod keepable;
mod key;
pub mod status;
#[cfg(test)]
mod tests;

pub use keepable::Keepable;

/// What an entry costs beside its texts: the key, the nodes of the cache's queues and table, and
/// the allocations' own rounding.
const ENTRY_OVERHEAD: usize = 512;
/// A header's name and value as they lie in memory, and the value's allocation.
const HEADER_OVERHEAD: usize = size_of::<(HeaderName, HeaderValue)>() + 16;
/// moka refuses more than a thousand years.
const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The checked `cache` block of a route.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of answers in memory.
    pub memory_bytes: u64,
    pub ttl: Duration,
    pub scope: Scope,
}

/// Who shares an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Client,
    Route,
}

/// What a key is made of.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
    /// The verified client, else the address as text.
    pub client: &'a str,
    /// What becomes of the request's `Authorization`.
    pub authorization: Authorization,
}

/// Whether the `Authorization` of a request can change its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// weir verified it and keeps it at the door (`bearer`).
    Verified,
    /// It goes on to the backend, if there is one.
    Forwarded,
}

/// The key of an answer: SHA-256 over everything that changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 32]);

/// What the question allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Look, and keep the answer.
    Full(Key),
    /// `no-cache`, `max-age=0` or `Pragma: no-cache`: ask the backend, and keep its answer.
    Refresh(Key),
    /// `no-store`, a body that is no JSON object or names a member twice, a part of an answer, an
    /// encoded body, or a method that is never cached.
    Bypass,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Stored {
    pub status: u16,
    /// The backend's headers without hop-by-hop ones.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body in the pieces it came in: a stream is replayed as a stream.
    pub chunks: Vec<Bytes>,
    /// Since the Unix epoch.
    pub stored_at: Duration,
}

impl Stored {
    /// How old the answer is, in whole seconds: the value of `Age`.
    #[must_use]
    pub fn age_s(&self, now: Duration) -> u64 {
        self.age(now).as_secs()
    }

    /// Zero when the wall clock was set back.
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.stored_at)
    }

    /// What the answer takes of the memory.
    fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers =
            headers.map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD);
        let chunks = self.chunks.iter();
        let chunks = chunks.map(|chunk| chunk.len() + copy::PIECE_OVERHEAD);
        ENTRY_OVERHEAD + headers.sum::<usize>() + chunks.sum::<usize>()
    }
}

/// A key is a hash already: the tables use a part of it as it stands.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    // The length that an array's `Hash` tells beside its bytes is always the same.
    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The answers of one route.
pub struct Answers {
    answers: Cache<Key, Arc<Stored>, BuildHasherDefault<KeyHasher>>,
    memory_bytes: u64,
    ttl: Duration,
    scope: Scope,
    /// Bytes kept since the cache last counted and evicted.
    uncounted_bytes: AtomicU64,
}

impl Answers {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let ttl = config.ttl.min(TTL_MAX);
        Answers {
            answers: Cache::builder()
                .max_capacity(config.memory_bytes)
                .weigher(|_, stored: &Arc<Stored>| {
                    u32::try_from(stored.bytes()).unwrap_or(u32::MAX)
                })
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(ttl)
                .build_with_hasher(BuildHasherDefault::default()),
            memory_bytes: config.memory_bytes,
            ttl,
            scope: config.scope,
            uncounted_bytes: AtomicU64::new(0),
        }
    }

    /// What may be done with this question.
    #[must_use]
    pub fn consider(&self, question: &Question<'_>) -> Use {
        let headers = question.headers;
        if question.method != Method::POST
            || headers.contains_key(header::RANGE)
            || is_encoded(headers)
        {
            return Use::Bypass;
        }
        let wish = Wish::of(headers);
        if wish == Wish::NoStore {
            return Use::Bypass;
        }
        let Ok(body) = canonical::canonical(question.body) else {
            return Use::Bypass;
        };
        let key = key::of(question, self.scope, &body);
        match wish {
            Wish::Refresh => Use::Refresh(key),
            Wish::None | Wish::NoStore => Use::Full(key),
        }
    }

    /// The answer under `key`, if there is one that is no older than the configured `ttl` at `now`
    /// (since the Unix epoch).
    #[must_use]
    pub fn lookup(&self, key: &Key, now: Duration) -> Option<Arc<Stored>> {
        self.answers
            .get(key)
            .filter(|stored| stored.age(now) < self.ttl)
    }

    /// Whether the answer with this head may be kept; asked before a copy of it is begun.
    #[must_use]
    pub fn keepable(&self, status: u16, headers: &HeaderMap) -> Keepable {
        keepable::keepable(status, headers, self.scope, self.answer_bytes_max())
    }

    /// Keeps an answer. The caller has made sure that it is whole and [`Keepable`], and that its
    /// chunks own their bytes ([`copy::CopyBuffer`] does). Headers that make no sense a second time
    /// are dropped here. An answer larger than the memory, or than 4 GiB, is not kept.
    pub fn keep(&self, key: Key, mut stored: Stored) {
        keepable::keep_lasting(&mut stored.headers);
        let bytes = stored.bytes() as u64;
        if bytes > self.memory_bytes || bytes > u64::from(u32::MAX) {
            return;
        }
        self.answers.insert(key, Arc::new(stored));
        // moka counts and evicts after some dozens of inserts: nothing for small answers, but
        // dozens of the largest would be several times the memory.
        let uncounted = self.uncounted_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if uncounted > self.memory_bytes / 64 {
            self.uncounted_bytes.store(0, Ordering::Relaxed);
            self.answers.run_pending_tasks();
        }
    }

    /// The largest answer worth keeping: an eighth of the memory.
    #[must_use]
    pub fn answer_bytes_max(&self) -> usize {
        let bytes = (self.memory_bytes / 8).min(u64::from(u32::MAX));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Bytes held, for `weir_cache_bytes`. Evicts what is due first.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.answers.run_pending_tasks();
        self.answers.weighted_size()
    }
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Answers")
            .field("memory_bytes", &self.memory_bytes)
            .field("ttl", &self.ttl)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// What the client asks of caches (RFC 9111 sections 5.2.1 and 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    Refresh,
    NoStore,
}

impl Wish {
    fn of(headers: &HeaderMap) -> Self {
        let mut wish = Wish::None;
        control::for_each_directive(headers, |name, argument| {
            let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
            if is("no-store") {
                wish = Wish::NoStore;
            } else if wish == Wish::None
                && (is("no-cache") || (is("max-age") && control::is_zero(argument)))
            {
                wish = Wish::Refresh;
            }
        });
        // Pragma is what clients said before there was a Cache-Control, and counts only without it.
        if !headers.contains_key(header::CACHE_CONTROL)
            && headers
                .get(header::PRAGMA)
                .is_some_and(|pragma| pragma.as_bytes().eq_ignore_ascii_case(b"no-cache"))
        {
            wish = Wish::Refresh;
        }
        wish
    }
}

/// Whether the body is something else than the text that it stands for.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
