//! The copy of a response that is made while it is delivered.
//!
//! As soon as the response is larger than what is stored, the copy is freed: a long stream never takes more memory
//! than the largest stored response. Content codings are decoded: one representation is stored, and served to each
//! client in a coding that it accepts.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use super::copy_budget::{CopyBudget, CopyShare};
use super::freshness::Freshness;
use super::segments::SegmentBuffer;
use super::{BodyLength, CachedResponse, storable};
use crate::coding::{DecodeProgress, Decoder, is_of_coded_bytes};

/// What a piece costs besides its bytes.
const PIECE_OVERHEAD: usize = size_of::<usize>();
/// `: ` and CR LF.
const LINE_OVERHEAD: usize = 4;
/// Marks a weak entity tag.
const WEAK: &[u8] = b"W/";

/// The copy of one response, in buffers of its own: the pieces may be slices of larger buffers, which they would keep
/// alive.
#[derive(Debug)]
pub struct CopyBuffer {
    status: u16,
    max_bytes: usize,
    length: BodyLength,
    time: LifetimeBounds,
    decoder: Decoder,
    /// `None` once the body is too large.
    copied: Option<CopiedResponse>,
    share: CopyShare,
}

/// The head of a response, for the requests that follow the one that it was made for (request coalescing).
#[derive(Clone, Debug)]
pub struct SharedHead {
    pub status: u16,
    /// The backend's headers that are stored, each a line of `name: value` and CR LF.
    pub lines: Bytes,
    /// Its age in seconds.
    pub age_s: u64,
    /// The length of the body, if it is known.
    pub length: Option<u64>,
}

/// The longest piece that is copied to be shared: a part of a larger buffer would keep all of it alive.
const COPIED_PIECE_MAX: usize = 1024;

/// A piece to be shared.
#[must_use]
pub fn shareable(piece: &Bytes) -> Bytes {
    match piece.len() <= COPIED_PIECE_MAX {
        true => Bytes::copy_from_slice(piece),
        false => piece.clone(),
    }
}

/// What bounds the lifetime of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct LifetimeBounds {
    pub(super) freshness: Freshness,
    /// When its head arrived, since the Unix epoch.
    pub(super) received_at: Duration,
    /// The configured time to live.
    pub(super) ttl: Duration,
}

#[derive(Debug)]
struct CopiedResponse {
    text: SegmentBuffer,
    head_bytes: usize,
    /// Where each piece of the body ends.
    ends: Vec<usize>,
}

impl CopyBuffer {
    /// For a response with this head, and a body of at most `max_bytes`, each piece counted with a small
    /// overhead. Only some of the headers are stored.
    #[must_use]
    pub fn new(status: u16, headers: &HeaderMap, max_bytes: usize) -> Self {
        let announced = headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let decoder = Decoder::of(headers);
        let is_recoded = decoder.as_ref().is_some_and(|decoder| !decoder.is_plain());
        let stored = storable::stored_headers(headers);
        let stored =
            stored.filter(|(name, _)| !(is_recoded && is_of_coded_bytes(name.as_str().as_bytes())));
        let stored: SmallVec<[_; 16]> = stored.collect();
        // RFC 9110, section 8.8.3.3: another coding is another representation.
        let weakens = |name: &HeaderName, value: &HeaderValue| {
            is_recoded && *name == header::ETAG && value.as_bytes().starts_with(b"\"")
        };
        let lines = stored.iter();
        let lines = lines.map(|(name, value)| {
            name.as_str().len()
                + value.len()
                + LINE_OVERHEAD
                + usize::from(weakens(name, value)) * WEAK.len()
        });
        let head_bytes = lines.sum();
        let mut text = SegmentBuffer::with_room(head_bytes, announced.unwrap_or(0).min(max_bytes));
        for (name, value) in stored {
            text.push_head(name.as_str().as_bytes());
            text.push_head(b": ");
            if weakens(name, value) {
                text.push_head(WEAK);
            }
            text.push_head(value.as_bytes());
            text.push_head(b"\r\n");
        }
        CopyBuffer {
            status,
            max_bytes,
            length: announced.map_or(BodyLength::Unknown, |_| BodyLength::Announced),
            time: LifetimeBounds {
                freshness: Freshness::UNSPECIFIED,
                received_at: Duration::MAX,
                ttl: Duration::MAX,
            },
            copied: decoder.is_some().then(|| CopiedResponse {
                head_bytes,
                text,
                ends: Vec::new(),
            }),
            decoder: decoder.unwrap_or_default(),
            share: CopyShare::default(),
        }
    }

    /// Counts the copy among those of a cache, which are bounded together.
    pub(super) fn of_budget(self, budget: &Arc<CopyBudget>) -> Self {
        CopyBuffer {
            share: CopyShare::of(budget),
            ..self
        }
    }

    /// Bounds the lifetime of the copied response.
    pub(super) fn within(self, time: LifetimeBounds) -> Self {
        CopyBuffer { time, ..self }
    }

    /// Adds a piece as it arrived.
    pub fn push(&mut self, piece: impl AsRef<[u8]>) {
        let (copied, max_bytes) = (&mut self.copied, self.max_bytes);
        let share = &mut self.share;
        self.decoder.feed(piece.as_ref(), |decoded| {
            add(copied, decoded, max_bytes, share);
        });
    }

    /// As [`CopyBuffer::push`]; `share` gets the piece as it is stored, also once the body is too large.
    pub fn push_shared(&mut self, piece: &Bytes, mut share: impl FnMut(Bytes)) {
        if self.decoder.is_plain() {
            share(shareable(piece));
            return self.push(piece);
        }
        let (copied, max_bytes) = (&mut self.copied, self.max_bytes);
        let of_budget = &mut self.share;
        self.decoder.feed(piece, |decoded| {
            share(Bytes::copy_from_slice(decoded));
            add(copied, decoded, max_bytes, of_budget);
        });
    }

    /// The head as it is stored, for a body of this length; `None` if its body cannot be read.
    #[must_use]
    pub fn shared_head(&self, length: Option<u64>) -> Option<SharedHead> {
        let copied = self.copied.as_ref()?;
        let age_s = self.time.freshness.age.as_secs();
        Some(SharedHead {
            status: self.status,
            lines: Bytes::copy_from_slice(&copied.text.first()[..copied.head_bytes]),
            age_s,
            length: length.filter(|_| self.decoder.is_plain()),
        })
    }

    /// Whether the copied body ends with these bytes.
    #[must_use]
    pub fn ends_with(&self, end: &[u8]) -> bool {
        let copied = self.copied.as_ref();
        copied.is_some_and(|copied| copied.text.ends_with(copied.head_bytes, end))
    }

    /// The response, complete at `stored_at` (since the Unix epoch); `None` if its body was too large, could not be
    /// decoded, or is stale already. More may be added to the copy, which may be stored again.
    #[must_use]
    pub fn stored(&mut self, stored_at: Duration) -> Option<CachedResponse> {
        let (initial_age, lifetime) = self.time.at(stored_at);
        if lifetime.is_zero() || self.decoder.progress() != DecodeProgress::Whole {
            return None;
        }
        let copied = self.copied.as_mut()?;
        let ends = &copied.ends;
        Some(CachedResponse {
            status: self.status,
            stored_at,
            initial_age,
            lifetime,
            text: copied.text.share(),
            head_bytes: copied.head_bytes,
            ends: (ends.len() > 1).then(|| ends.as_slice().into()),
            length: self.length,
        })
    }

    /// The response like [`CopyBuffer::stored`], for a copy to which nothing is added any more.
    #[must_use]
    pub fn finish(mut self, stored_at: Duration) -> Option<CachedResponse> {
        self.stored(stored_at)
    }
}

/// Adds a piece, or frees the copy: it has become too large, or all of them together.
fn add(copied: &mut Option<CopiedResponse>, piece: &[u8], max_bytes: usize, share: &mut CopyShare) {
    if let Some(copy) = copied
        && !(copy.try_push(piece, max_bytes) && share.grow(piece.len()))
    {
        *copied = None;
        share.release();
    }
}

impl CopiedResponse {
    /// Adds a piece, unless the body becomes larger than `max_bytes`.
    fn try_push(&mut self, piece: &[u8], max_bytes: usize) -> bool {
        if piece.is_empty() {
            return true;
        }
        let end = self.text.len() + piece.len();
        let overhead = (self.ends.len() + 1) * PIECE_OVERHEAD;
        if end - self.head_bytes + overhead > max_bytes {
            return false;
        }
        self.text.push(piece);
        self.ends.push(end);
        true
    }
}

impl LifetimeBounds {
    /// The age of a response that is complete at `stored_at`, and its lifetime from then on.
    fn at(&self, stored_at: Duration) -> (Duration, Duration) {
        let coming = stored_at.saturating_sub(self.received_at);
        let ttl = self.ttl.saturating_sub(self.freshness.age);
        let fresh = self
            .freshness
            .lifetime_left
            .map(|left| left.saturating_sub(coming));
        let age = self.freshness.age.saturating_add(coming);
        (age, fresh.map_or(ttl, |fresh| fresh.min(ttl)))
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
