//! Stage five: is the answer known.
//!
//! It keeps whole, successful answers in memory, bounded by their bytes, least recently used first
//! to go. It never keeps what is not JSON, and never shares an answer beyond its scope.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

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
}

/// The key of an answer: SHA-256 over everything that changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u8; 32]);

/// What the question allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Look, and keep the answer.
    Full(Key),
    /// `no-cache`: ask the backend, and keep its answer.
    Refresh(Key),
    /// `no-store`, not JSON, or a method that is never cached.
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

/// The answers of one route.
pub struct Answers {
    _private: (),
}

impl Answers {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let _ = config;
        todo!("cache helper")
    }

    /// What may be done with this question.
    #[must_use]
    pub fn consider(&self, question: &Question<'_>) -> Use {
        let _ = question;
        todo!("cache helper")
    }

    #[must_use]
    pub fn lookup(&self, key: &Key) -> Option<std::sync::Arc<Stored>> {
        let _ = key;
        todo!("cache helper")
    }

    /// Keeps an answer. The caller has made sure that it is whole and a 2xx.
    pub fn keep(&self, key: Key, stored: Stored) {
        let _ = (key, stored);
        todo!("cache helper")
    }

    /// The largest answer worth keeping: a fraction of the memory.
    #[must_use]
    pub fn answer_bytes_max(&self) -> usize {
        todo!("cache helper")
    }

    /// Bytes held, for `weir_cache_bytes`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        todo!("cache helper")
    }
}
