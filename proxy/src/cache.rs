//! Stage five: is the answer known.
//!
//! It keeps whole, good answers in memory, bounded by their bytes, least recently used first to go, each no
//! longer than its backend lets it. It never shares an answer beyond its scope. Only `POST` with a JSON
//! object is looked for, and only what asks a question: a `GET` says nothing of what changes its answer, and
//! has RFC 9111 instead (`cache.http`), and what makes an object is asked each time (`cache/stateful.rs`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

pub(crate) mod canonical;
mod control;
pub mod copy;
mod freshness;
mod harmless;
mod keepable;
mod key;
mod media;
mod memory;
mod reach;
mod request_head;
mod stateful;
pub mod status;
#[cfg(test)]
mod tests;

pub use keepable::Unkept;
pub use stateful::Named;

use crate::model::json::Visitor;
use crate::model::operation::Operation;
use copy::{CopyBuffer, Time};
use freshness::Freshness;
use memory::Memory;
use reach::Reach;
use request_head::{Directive, RequestHead};

/// What an entry costs beside its texts: the key, the node of the list and its place in the table, the
/// answer itself, and the allocations' own rounding.
const ENTRY_OVERHEAD: usize = 320;

/// The checked `cache` block of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of answers in memory.
    pub memory_bytes: u64,
    pub ttl: Duration,
    pub scope: Scope,
    /// Headers that change no answer, beside those that are known to change none.
    pub ignore_headers: Vec<HeaderName>,
}

/// Who shares an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Client,
    Route,
}

/// What a key is made of.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    pub query: &'a str,
    /// The host that goes on as `X-Forwarded-Host`; empty where there is none.
    pub host: &'a [u8],
    pub headers: &'a HeaderMap,
    /// Whether a header reaches the backend under the client's own words, and is not one of a signature
    /// that has been verified.
    pub goes_on: &'a (dyn Fn(&HeaderName) -> bool + Sync),
    pub body: &'a [u8],
    /// The verified client, else the address as text.
    pub client: &'a str,
    /// What a model is asked to do, where that is known.
    pub operation: Option<Operation>,
    /// How the route came to this path.
    pub named: Named,
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
    /// `no-store`, what is no question or goes on from an earlier one, a body that is no JSON object or
    /// names a member twice, a part of an answer, an encoded body, or a method that is never cached.
    Bypass,
}

/// A whole answer, made by [`copy::CopyBuffer`]. It lies in one buffer, because a cache is full of what
/// nobody has looked at for a while: each thing apart would be fetched from far away when it is let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub status: u16,
    /// Since the Unix epoch.
    pub stored_at: Duration,
    /// How old it was then, by its `Age` and the time that it took to come.
    initial_age: Duration,
    /// How long it may be said again from then on.
    left: Duration,
    /// The lines of the head, then the body.
    text: Bytes,
    head_bytes: usize,
    /// Where each piece of the body ends; none when there is one piece at most.
    ends: Option<Box<[usize]>>,
    length: Length,
}

/// Whether the head of an answer told the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Announced,
    Open,
}

impl Stored {
    /// How old the answer is, in whole seconds: the value of `Age`.
    #[must_use]
    pub fn age_s(&self, now: Duration) -> u64 {
        self.initial_age
            .saturating_add(self.kept_for(now))
            .as_secs()
    }

    /// The backend's headers that still make sense a second time, each a line of `name: value` and
    /// CR LF, without the length of the body.
    #[must_use]
    pub fn head_lines(&self) -> &[u8] {
        &self.text[..self.head_bytes]
    }

    /// The length of the body, unless it came as a stream, and is replayed as one.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        let one_piece = self.ends.is_none() || self.length == Length::Announced;
        one_piece.then(|| self.text.len() - self.head_bytes)
    }

    /// The body in the pieces it came in; an empty body is one empty piece.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> {
        let several = self.ends.iter().flatten().copied();
        let only = self.ends.is_none().then_some(self.text.len());
        let mut start = self.head_bytes;
        several.chain(only).map(move |end| {
            let piece = self.text.slice(start..end);
            start = end;
            piece
        })
    }

    /// Zero when the wall clock was set back.
    fn kept_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.stored_at)
    }

    /// What the answer takes of the memory.
    fn bytes(&self) -> u64 {
        let ends = self.ends.as_ref().map_or(0, |ends| size_of_val(&**ends));
        (ENTRY_OVERHEAD + self.text.len() + ends) as u64
    }
}

/// The answers of one route.
pub struct Answers {
    memory: Memory,
    memory_bytes: u64,
    ttl: Duration,
    scope: Scope,
    ignored: Box<[HeaderName]>,
}

impl Answers {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Answers {
            memory: Memory::new(config.memory_bytes, config.ttl),
            memory_bytes: config.memory_bytes,
            ttl: config.ttl,
            scope: config.scope,
            ignored: config.ignore_headers.clone().into(),
        }
    }

    /// What may be done with this question. Its body is shown to `visitor` where it is read, and the end only of
    /// one that is a JSON object and whole.
    #[must_use]
    pub fn consider<V: Visitor>(&self, question: &Question<'_>, visitor: &mut V) -> Use {
        if question.method != Method::POST
            || !stateful::is_question(question.path, question.operation, question.named)
        {
            return Use::Bypass;
        }
        let head = RequestHead::read(question, &self.ignored);
        if head.asks_part || head.is_encoded || head.directive == Directive::NoStore {
            return Use::Bypass;
        }
        let key = |body: &[u8], reach: Reach| {
            let alone = reach.is_none();
            alone.then(|| key::of(question, self.scope, &head.keyed, body))
        };
        let reach = Reach::new(question.operation);
        let Ok(Some(key)) = canonical::canonical(question.body, reach, visitor, key) else {
            return Use::Bypass;
        };
        match head.directive {
            Directive::Refresh => Use::Refresh(key),
            Directive::None | Directive::NoStore => Use::Full(key),
        }
    }

    /// The answer under `key`, if there is one that is no older than the configured `ttl` at `now`
    /// (since the Unix epoch).
    #[must_use]
    pub fn lookup(&self, key: &Key, now: Duration) -> Option<Arc<Stored>> {
        self.memory.get(key, now)
    }

    /// Room for a copy of the answer with this head, which came at `received_at` (since the Unix epoch) to
    /// a question whose `verified` headers are in no key.
    ///
    /// # Errors
    /// Why it may not be kept.
    pub fn copy(
        &self,
        status: u16,
        headers: &HeaderMap,
        verified: &[HeaderName],
        received_at: Duration,
    ) -> Result<CopyBuffer, Unkept> {
        let asked = keepable::Asked {
            scope: self.scope,
            body_bytes_max: self.answer_bytes_max(),
            ignored: &self.ignored,
            verified,
        };
        if let Some(unkept) = keepable::forbids(status, headers, &asked) {
            return Err(unkept);
        }
        // With its body, which is bounded alike, it fits into the memory.
        let lines = headers.iter();
        let lines = lines.map(|(name, value)| name.as_str().len() + value.len() + 6);
        if ENTRY_OVERHEAD + lines.sum::<usize>() > self.answer_bytes_max() {
            return Err(Unkept::TooLarge);
        }
        let said = Freshness::of(headers, self.scope, received_at);
        if said.left == Some(Duration::ZERO) || said.age >= self.ttl {
            return Err(Unkept::Stale);
        }
        let copy = CopyBuffer::new(status, headers, self.answer_bytes_max());
        Ok(copy.within(Time {
            said,
            received_at,
            ttl: self.ttl,
        }))
    }

    /// Keeps an answer. The caller has made sure that it is whole and good, and made its copy by
    /// [`Answers::copy`]. An answer larger than the memory is not kept.
    pub fn keep(&self, key: Key, stored: Stored) {
        if stored.bytes() <= self.memory_bytes {
            self.memory.insert(key, stored);
        }
    }

    /// Lets the answer under `key` go: it has turned out to be none to keep.
    pub fn forget(&self, key: &Key) {
        self.memory.forget(key);
    }

    /// Lets answers go whose time is over at `now` (since the Unix epoch); called on a timer.
    pub fn forget_expired(&self, now: Duration) {
        self.memory.forget_expired(now);
    }

    /// The largest answer worth keeping: an eighth of the memory.
    #[must_use]
    pub fn answer_bytes_max(&self) -> usize {
        usize::try_from(self.memory_bytes / 8).unwrap_or(usize::MAX)
    }

    /// Bytes held, for `weir_cache_bytes`.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memory.bytes()
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
