//! The cache stage: looks for a stored response.
//!
//! Responses that are complete and successful are stored in memory, bounded by bytes with least-recently-used
//! (LRU) eviction, for as long as the backend allows (RFC 9111). A response is never shared beyond its scope. Only
//! a `POST` with a JSON object has a key, and only a call whose response depends on nothing else (`cacheable.rs`,
//! `statefulness.rs`): a `GET` would need RFC 9111 (`cache.http`), and a call that creates an object is forwarded
//! each time. Requests for the same key that miss at the same time are forwarded once (`flight.rs`), against cache
//! stampedes. With Redis, replicas share their responses (`redis_tier.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderName};
use bytes::Bytes;

mod accept;
mod body_rules;
mod cache_control;
mod cacheable;
pub(crate) mod canonical;
pub mod copy;
mod copy_budget;
pub(crate) mod credentials;
mod decision;
mod entry;
pub mod flight;
mod freshness;
pub mod http;
mod key;
mod memory;
pub mod pointer;
pub mod purge;
pub mod redis_tier;
mod request_head;
mod segments;
mod statefulness;
pub mod status;
mod storable;
#[cfg(test)]
mod tests;
pub(crate) mod unkeyed;
pub mod unless;

pub use cacheable::PathMatch;
pub use decision::{CacheDecision, CacheRequest};
pub use memory::{Insertion, MemoryCounts, RemovedCounts};
pub use storable::NotStorable;

pub use crate::exchange::{BypassReason, CacheKey};

use crate::clock;
use crate::exchange::CacheTier;
use body_rules::BodySettings;
use copy::{CopyBuffer, LifetimeBounds, SharedHead};
use copy_budget::CopyBudget;
use flight::{FlightBounds, Flights};
use freshness::Freshness;
use memory::{Entry, MemoryTier};
use pointer::Pointer;
use purge::PurgeTarget;
use segments::{SEGMENT_BYTES, Segments, allocated};
use unless::Unless;

/// What an entry costs besides its text: the key, the nodes of the list and the table, and the entry itself.
const ENTRY_OVERHEAD: usize = 320;

/// The checked `cache` block of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Bytes of responses in memory.
    pub memory_bytes: u64,
    pub ttl: Duration,
    pub scope: Scope,
    /// Headers that are not part of the key, besides those in `unkeyed.rs`.
    pub ignore_headers: Vec<HeaderName>,
    /// Values of the body that are not part of the key.
    pub ignore: Vec<Pointer>,
    pub unless: Unless,
    pub coalescing: Coalescing,
}

/// Whether equal requests in flight are sent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalescing {
    Enabled,
    Disabled,
}

/// Who shares a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Client,
    Route,
}

/// A stored response, made by [`copy::CopyBuffer`]. Head and body are in the same segments, most of them in a single
/// one: most entries are cold when they are evicted, and each separate allocation would be a cache miss of the processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedResponse {
    pub status: u16,
    /// Since the Unix epoch.
    pub stored_at: Duration,
    /// Its age at that time, by its `Age` header and the time that it took to arrive.
    initial_age: Duration,
    /// How long it is fresh from that time on.
    lifetime: Duration,
    /// The lines of the head, then the body.
    text: Segments,
    head_bytes: usize,
    /// Where each piece of the body ends; `None` if there is at most one piece.
    ends: Option<Box<[usize]>>,
    length: BodyLength,
}

/// A stored response that was found, and where.
#[derive(Clone, Debug)]
pub struct Hit {
    pub response: Arc<CachedResponse>,
    pub tier: CacheTier,
}

/// Whether the head announced the length of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLength {
    Announced,
    Unknown,
}

impl CachedResponse {
    /// The age in seconds: the value of `Age`.
    #[must_use]
    pub fn age_s(&self, now: Duration) -> u64 {
        self.initial_age
            .saturating_add(self.stored_for(now))
            .as_secs()
    }

    /// The backend's headers that are stored, each a line of `name: value` and CR LF, without the length of the
    /// body.
    #[must_use]
    pub fn head_lines(&self) -> &[u8] {
        &self.text.first()[..self.head_bytes]
    }

    /// The length of the body; `None` for a stream, which is replayed as one.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        let one_piece = self.ends.is_none() || self.length == BodyLength::Announced;
        one_piece.then(|| self.text.len() - self.head_bytes)
    }

    /// The body in the pieces in which it arrived; an empty body is one empty piece. A piece that is longer than a
    /// segment may come in parts.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let ends = self.ends.as_deref().unwrap_or_default();
        let (mut start, mut number) = (self.head_bytes, 0);
        std::iter::from_fn(move || {
            if number == ends.len().max(1) {
                return None;
            }
            let end = ends.get(number).map_or(self.text.len(), |end| *end);
            let piece = match end - start <= SEGMENT_BYTES {
                // An event of a stream stays in one chunk.
                true => self.text.joined(start..end),
                false => self.text.part(start..end),
            };
            start += piece.len();
            number += usize::from(start == end);
            Some(piece)
        })
    }

    /// How long it may still be served at `now` (since the Unix epoch), at most for `ttl` since it was stored.
    fn time_left(&self, now: Duration, ttl: Duration) -> Duration {
        let lifetime = ttl.min(self.lifetime);
        lifetime.saturating_sub(self.stored_for(now))
    }

    fn is_fresh(&self, now: Duration, ttl: Duration) -> bool {
        !self.time_left(now, ttl).is_zero()
    }

    /// Zero if the wall clock has been set back.
    fn stored_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.stored_at)
    }
}

impl Entry for CachedResponse {
    fn bytes(&self) -> u64 {
        let ends = self.ends.as_ref().map_or(0, |ends| size_of_val(&**ends));
        (ENTRY_OVERHEAD + self.text.bytes() + allocated(ends)) as u64
    }
}

/// The cache of one route. It is shared by `Arc`: a new generation of the configuration keeps it where its
/// [`Config`] is equal.
pub struct ResponseCache {
    memory: MemoryTier<CachedResponse>,
    memory_bytes: u64,
    ttl: Duration,
    scope: Scope,
    ignored: Box<[HeaderName]>,
    /// `None` without `ignore` and `unless`.
    body_settings: Option<BodySettings>,
    flights: Option<Flights<SharedHead>>,
    copies: Arc<CopyBudget>,
}

impl ResponseCache {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        ResponseCache {
            memory: MemoryTier::new(config.memory_bytes),
            memory_bytes: config.memory_bytes,
            ttl: config.ttl,
            scope: config.scope,
            ignored: config.ignore_headers.clone().into(),
            body_settings: BodySettings::new(config),
            flights: match config.coalescing {
                Coalescing::Enabled => Some(Flights::new(flight_bounds(config.memory_bytes))),
                Coalescing::Disabled => None,
            },
            copies: copy_budget(config.memory_bytes),
        }
    }

    /// The response under `key`, if it is fresh at `now` (since the Unix epoch).
    #[must_use]
    pub fn look_up(&self, key: &CacheKey, now: Duration) -> Option<Hit> {
        let response = self.memory.get(key)?;
        if !response.is_fresh(now, self.ttl) {
            return None;
        }
        Some(Hit {
            response,
            tier: CacheTier::Memory,
        })
    }

    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The requests in flight, if equal ones are sent once.
    #[must_use]
    pub fn flights(&self) -> Option<&Flights<SharedHead>> {
        self.flights.as_ref()
    }

    /// An empty copy of a response with this head, which arrived at `received_at` (since the Unix epoch). The
    /// request's `verified` headers are not in its key.
    ///
    /// # Errors
    /// Why it is not storable.
    pub fn copy(
        &self,
        status: u16,
        headers: &HeaderMap,
        verified: &[HeaderName],
        received_at: Duration,
    ) -> Result<CopyBuffer, NotStorable> {
        let rules = storable::StorageRules {
            scope: self.scope,
            body_bytes_max: self.response_bytes_max(),
            ignored: &self.ignored,
            verified,
        };
        if let Some(not_storable) = storable::not_storable(status, headers, &rules) {
            return Err(not_storable);
        }
        // Head and body are bounded alike, so that both fit into the memory.
        let lines = headers.iter();
        let lines = lines.map(|(name, value)| name.as_str().len() + value.len() + 6);
        if ENTRY_OVERHEAD + lines.sum::<usize>() > self.response_bytes_max() {
            return Err(NotStorable::TooLarge);
        }
        let freshness = Freshness::of(headers, self.scope, received_at);
        if freshness.lifetime_left == Some(Duration::ZERO) || freshness.age >= self.ttl {
            return Err(NotStorable::Stale);
        }
        let copy = CopyBuffer::new(status, headers, self.response_bytes_max());
        let copy = copy.of_budget(&self.copies);
        Ok(copy.within(LifetimeBounds {
            freshness,
            received_at,
            ttl: self.ttl,
        }))
    }

    /// Stores a response. The caller has checked that it is complete and successful, and copied it with
    /// [`ResponseCache::copy`]. It is not stored if it is larger than the memory, or if the cache has been purged since
    /// its request arrived (`asked_at`).
    pub fn store(&self, key: CacheKey, stored: CachedResponse, asked_at: Instant) -> Insertion {
        if stored.bytes() > self.memory_bytes {
            return Insertion::Refused;
        }
        self.memory.insert(key, stored, asked_at)
    }

    /// Removes all responses, or the one that an event names; returns their number. Responses to
    /// requests that have arrived before are not stored afterwards.
    pub fn purge(&self, target: &PurgeTarget) -> u64 {
        self.flights.iter().for_each(Flights::close);
        self.memory.purge(target, clock::now())
    }

    /// How often the cache has been purged.
    #[must_use]
    pub fn purges(&self) -> u64 {
        self.memory.purges()
    }

    /// What the memory holds, and has removed since the last call.
    #[must_use]
    pub fn take_counts(&self) -> MemoryCounts {
        self.memory.take_counts()
    }

    /// Removes the response under `key`, which has turned out not to be storable.
    pub fn remove(&self, key: &CacheKey) {
        self.memory.remove(key);
    }

    /// Removes responses that are expired at `now` (since the Unix epoch); called on a timer.
    pub fn remove_expired(&self, now: Duration) {
        self.memory
            .remove_expired(|response| !response.is_fresh(now, self.ttl));
    }

    /// The largest response that is stored: an eighth of the memory.
    #[must_use]
    pub fn response_bytes_max(&self) -> usize {
        usize::try_from(self.memory_bytes / 8).unwrap_or(usize::MAX)
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.bytes()
    }
}

/// Responses in flight take at most a quarter of the memory besides it.
fn flight_bounds(memory_bytes: u64) -> FlightBounds {
    let bytes = |part| usize::try_from(memory_bytes / part).unwrap_or(usize::MAX);
    FlightBounds {
        response_bytes_max: bytes(8),
        bytes_max: bytes(4),
    }
}

/// So do the copies that are made of responses while they are delivered.
fn copy_budget(memory_bytes: u64) -> Arc<CopyBudget> {
    CopyBudget::new(flight_bounds(memory_bytes).bytes_max)
}

impl std::fmt::Debug for ResponseCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ResponseCache")
            .field("memory_bytes", &self.memory_bytes)
            .field("ttl", &self.ttl)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
