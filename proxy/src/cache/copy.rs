//! The copy of an answer that is taken while it is passed on.
//!
//! It stops and frees what it has as soon as the answer is larger than is worth keeping, so that a
//! long stream never costs more memory than the largest answer in the cache. What is coded is decoded: there
//! is one representation of an answer, and each client is served what it takes of it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};

use super::freshness::Freshness;
use super::{Length, Stored, storable};
use crate::coding::{Decoder, Progress, is_of_coded_bytes};

/// What a piece costs beside its bytes.
const PIECE_OVERHEAD: usize = size_of::<usize>();

/// Collects one answer. All of it is copied into one buffer: what comes from a connection may be a
/// slice of a larger one, and would keep all of that alive.
#[derive(Debug)]
pub struct CopyBuffer {
    status: u16,
    max_bytes: usize,
    length: Length,
    time: Time,
    decoder: Decoder,
    /// `None` once the body was too large.
    copied: Option<Copied>,
}

/// What bounds the time of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    pub(super) said: Freshness,
    /// When its head came, since the Unix epoch.
    pub(super) received_at: Duration,
    /// The configured time to live.
    pub(super) ttl: Duration,
}

#[derive(Debug)]
struct Copied {
    text: Text,
    head_bytes: usize,
    /// Where each piece of the body ends.
    ends: Vec<usize>,
}

/// What was copied, or, once it was given out, what it shares with whoever has it.
#[derive(Debug)]
struct Text {
    own: Vec<u8>,
    shared: Option<Bytes>,
}

impl CopyBuffer {
    /// For an answer with this head, and a body of at most `max_bytes`, each piece counted with a
    /// small overhead. Headers that make no sense a second time are left out.
    #[must_use]
    pub fn new(status: u16, headers: &HeaderMap, max_bytes: usize) -> Self {
        let announced = headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let lines = headers.iter();
        let lines = lines.map(|(name, value)| name.as_str().len() + value.len() + 6);
        let head_room = lines.sum::<usize>();
        let mut text = Vec::with_capacity(head_room + announced.unwrap_or(0).min(max_bytes));
        let decoder = Decoder::of(headers);
        let is_recoded = decoder.as_ref().is_some_and(|decoder| !decoder.is_plain());
        for (name, value) in storable::lasting(headers) {
            if is_recoded && is_of_coded_bytes(name.as_str().as_bytes()) {
                continue;
            }
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            // RFC 9110, section 8.8.3.3: another coding is another representation.
            if is_recoded && *name == header::ETAG && value.as_bytes().starts_with(b"\"") {
                text.extend_from_slice(b"W/");
            }
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        CopyBuffer {
            status,
            max_bytes,
            length: announced.map_or(Length::Open, |_| Length::Announced),
            time: Time {
                said: Freshness::UNSAID,
                received_at: Duration::MAX,
                ttl: Duration::MAX,
            },
            copied: decoder.is_some().then(|| Copied {
                head_bytes: text.len(),
                text: Text {
                    own: text,
                    shared: None,
                },
                ends: Vec::new(),
            }),
            decoder: decoder.unwrap_or_default(),
        }
    }

    /// The same, for an answer whose time is bounded.
    pub(super) fn within(self, time: Time) -> Self {
        CopyBuffer { time, ..self }
    }

    /// Adds a piece as it came; an empty one is nothing.
    pub fn push(&mut self, piece: impl AsRef<[u8]>) {
        let (copied, max_bytes) = (&mut self.copied, self.max_bytes);
        self.decoder.feed(piece.as_ref(), |decoded| {
            if copied
                .as_mut()
                .is_some_and(|copied| !copied.takes(decoded, max_bytes))
            {
                *copied = None;
            }
        });
    }

    /// Whether what was copied of the body so far ends so.
    #[must_use]
    pub fn ends_with(&self, end: &[u8]) -> bool {
        let copied = self.copied.as_ref();
        copied.is_some_and(|copied| copied.text.bytes()[copied.head_bytes..].ends_with(end))
    }

    /// The answer as it came, whole at `stored_at` (since the Unix epoch), or `None` when its body was
    /// too large or could not be decoded, or its time was over before it had come whole. More may be added
    /// to the copy, and it be given out again.
    #[must_use]
    pub fn stored(&mut self, stored_at: Duration) -> Option<Stored> {
        let (initial_age, left) = self.time.at(stored_at);
        if left.is_zero() || self.decoder.progress() != Progress::Whole {
            return None;
        }
        let copied = self.copied.as_mut()?;
        let ends = &copied.ends;
        Some(Stored {
            status: self.status,
            stored_at,
            initial_age,
            left,
            text: copied.text.share(),
            head_bytes: copied.head_bytes,
            ends: (ends.len() > 1).then(|| ends.as_slice().into()),
            length: self.length,
        })
    }

    /// The same, when nothing more is added.
    #[must_use]
    pub fn finish(mut self, stored_at: Duration) -> Option<Stored> {
        self.stored(stored_at)
    }
}

impl Copied {
    /// Adds a piece, unless the body gets larger than `max_bytes`.
    fn takes(&mut self, piece: &[u8], max_bytes: usize) -> bool {
        if piece.is_empty() {
            return true;
        }
        let end = self.text.bytes().len() + piece.len();
        let overhead = (self.ends.len() + 1) * PIECE_OVERHEAD;
        if end - self.head_bytes + overhead > max_bytes {
            return false;
        }
        self.text.own().extend_from_slice(piece);
        self.ends.push(end);
        true
    }
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.shared.as_deref().unwrap_or(&self.own)
    }

    fn share(&mut self) -> Bytes {
        let own = &mut self.own;
        let shared = self.shared.get_or_insert_with(|| {
            let mut text = std::mem::take(own);
            text.shrink_to_fit();
            text.into()
        });
        shared.clone()
    }

    /// To write on.
    fn own(&mut self) -> &mut Vec<u8> {
        if let Some(shared) = self.shared.take() {
            self.own = shared.to_vec();
        }
        &mut self.own
    }
}

impl Time {
    /// How old an answer is that came whole at `stored_at`, and how long it may be said again.
    fn at(&self, stored_at: Duration) -> (Duration, Duration) {
        let coming = stored_at.saturating_sub(self.received_at);
        let ttl = self.ttl.saturating_sub(self.said.age);
        let fresh = self.said.left.map(|left| left.saturating_sub(coming));
        let age = self.said.age.saturating_add(coming);
        (age, fresh.map_or(ttl, |fresh| fresh.min(ttl)))
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
