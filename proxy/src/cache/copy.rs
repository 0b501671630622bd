//! The copy of an answer that is taken while it is passed on.
//!
//! It stops and frees what it has as soon as the answer is larger than is worth keeping, so that a
//! long stream never costs more memory than the largest answer in the cache. What is coded is decoded: there
//! is one representation of an answer, and each client is served what it takes of it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};

use super::freshness::Freshness;
use super::{Length, Stored, keepable};
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
    text: Vec<u8>,
    head_bytes: usize,
    /// Where each piece of the body ends.
    ends: Vec<usize>,
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
        for (name, value) in keepable::lasting(headers) {
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
                text,
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
        copied.is_some_and(|copied| copied.text[copied.head_bytes..].ends_with(end))
    }

    /// The answer as it came, whole at `stored_at` (since the Unix epoch), or `None` when its body was
    /// too large or could not be decoded, or its time was over before it had come whole.
    #[must_use]
    pub fn finish(self, stored_at: Duration) -> Option<Stored> {
        let (initial_age, left) = self.time.at(stored_at);
        if left.is_zero() || self.decoder.progress() != Progress::Whole {
            return None;
        }
        let Copied {
            mut text,
            head_bytes,
            ends,
        } = self.copied?;
        text.shrink_to_fit();
        Some(Stored {
            status: self.status,
            stored_at,
            initial_age,
            left,
            text: Bytes::from(text),
            head_bytes,
            ends: (ends.len() > 1).then(|| ends.into_boxed_slice()),
            length: self.length,
        })
    }
}

impl Copied {
    /// Adds a piece, unless the body gets larger than `max_bytes`.
    fn takes(&mut self, piece: &[u8], max_bytes: usize) -> bool {
        if piece.is_empty() {
            return true;
        }
        let end = self.text.len() + piece.len();
        let overhead = (self.ends.len() + 1) * PIECE_OVERHEAD;
        if end - self.head_bytes + overhead > max_bytes {
            return false;
        }
        self.text.extend_from_slice(piece);
        self.ends.push(end);
        true
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
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_000);

    fn copy(max_bytes: usize) -> CopyBuffer {
        CopyBuffer::new(200, &HeaderMap::new(), max_bytes)
    }

    fn pieces(copy: CopyBuffer) -> Option<Vec<Bytes>> {
        copy.finish(NOW).map(|stored| stored.pieces().collect())
    }

    #[test]
    fn pieces_come_back_as_they_came() {
        let mut copy = copy(1_000);
        copy.push(Bytes::from_static(b"data: 1\n\n"));
        copy.push(b"");
        copy.push("data: 2\n\n");
        let stored = copy.finish(NOW).expect("small enough");
        assert_eq!(stored.length(), None);
        let pieces: Vec<_> = stored.pieces().collect();
        assert_eq!(pieces, ["data: 1\n\n", "data: 2\n\n"]);
    }

    #[test]
    fn an_empty_body_is_a_body() {
        let stored = copy(0).finish(NOW).expect("small enough");
        assert_eq!(stored.length(), Some(0));
        assert_eq!(stored.pieces().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn a_body_past_the_bound_is_let_go_for_good() {
        let exact = 10 + PIECE_OVERHEAD;
        let mut copied = copy(exact);
        copied.push([0; 10]);
        assert!(pieces(copied).is_some());
        let mut copied = copy(exact - 1);
        copied.push([0; 10]);
        assert!(copied.copied.is_none(), "freed at once");
        copied.push([0; 1]);
        assert_eq!(pieces(copied), None);
        let mut copied = copy(1_000);
        for _ in 0..1_000 {
            copied.push([0; 1]);
        }
        assert_eq!(
            pieces(copied),
            None,
            "tiny pieces count with their overhead"
        );
    }

    #[test]
    fn a_copy_has_lasting_headers_and_does_not_keep_the_buffers_they_came_from() {
        let buffer = Bytes::from(vec![b'v'; 100_000]);
        let value = |bytes| HeaderValue::from_maybe_shared(buffer.slice(bytes)).expect("a value");
        let mut headers = HeaderMap::new();
        headers.append(header::DATE, HeaderValue::from_static("now"));
        headers.append(header::ETAG, value(0..10));
        headers.append("x-empty", HeaderValue::from_static(""));
        headers.append(header::ETAG, value(10..12));
        let mut copy = CopyBuffer::new(201, &headers, 1_000);
        drop(headers);
        copy.push(buffer.slice(..10));
        assert!(buffer.is_unique());
        let stored = copy.finish(NOW).expect("small enough");
        assert_eq!(
            stored.head_lines(),
            b"etag: vvvvvvvvvv\r\netag: vv\r\nx-empty: \r\n"
        );
        assert_eq!((stored.status, stored.stored_at), (201, NOW));
        assert_eq!(stored.pieces().collect::<Vec<_>>(), ["vvvvvvvvvv"]);
    }

    #[test]
    fn a_length_that_was_announced_is_told_again() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("4"));
        let mut copy = CopyBuffer::new(200, &headers, 1_000);
        copy.push("ab");
        copy.push("cd");
        let stored = copy.finish(NOW).expect("small enough");
        assert_eq!((stored.length(), stored.head_lines()), (Some(4), &b""[..]));
        assert_eq!(stored.pieces().collect::<Vec<_>>(), ["ab", "cd"]);
    }

    #[test]
    fn what_is_coded_is_kept_decoded() {
        use std::io::Write as _;

        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(b"what is a weir?").expect("memory");
        let coded = encoder.finish().expect("memory");
        let head = |coding: &'static str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("content-encoding", coding),
                ("etag", "\"a\""),
                ("content-digest", "sha-256=:a:"),
                ("content-length", "35"),
                ("content-type", "text/plain"),
            ] {
                headers.append(name, HeaderValue::from_static(value));
            }
            headers
        };
        let mut copy = CopyBuffer::new(200, &head("gzip"), 1_000);
        let (first, rest) = coded.split_at(20);
        copy.push(first);
        copy.push(rest);
        let stored = copy.finish(NOW).expect("it can be read");
        assert_eq!(
            stored.head_lines(),
            b"etag: W/\"a\"\r\ncontent-type: text/plain\r\n"
        );
        assert_eq!(stored.length(), Some(15));
        assert_eq!(
            stored.pieces().collect::<Vec<_>>().concat(),
            b"what is a weir?"
        );

        for (coding, bytes) in [
            ("gzip", &coded[..30]),
            ("gzip", &b"what is a weir?"[..]),
            ("x-unknown", &coded[..]),
        ] {
            let mut copy = CopyBuffer::new(200, &head(coding), 1_000);
            copy.push(bytes);
            assert_eq!(copy.finish(NOW), None, "{coding}");
        }
        let mut small = CopyBuffer::new(200, &head("gzip"), 14);
        small.push(&coded);
        assert_eq!(small.finish(NOW), None, "what counts is what it becomes");

        let mut plain = CopyBuffer::new(200, &head("identity"), 1_000);
        plain.push("a");
        let stored = plain.finish(NOW).expect("it can be read");
        assert!(
            stored
                .head_lines()
                .starts_with(b"etag: \"a\"\r\ncontent-digest")
        );
    }

    #[test]
    fn the_shortest_of_all_times_counts() {
        let seconds = Duration::from_secs;
        let at = |age, left: Option<u64>, ttl, coming| {
            let time = Time {
                said: Freshness {
                    age: seconds(age),
                    left: left.map(seconds),
                },
                received_at: NOW,
                ttl: seconds(ttl),
            };
            let (age, left) = time.at(NOW + seconds(coming));
            (age.as_secs(), left.as_secs())
        };
        for (age, left, ttl, coming, expected) in [
            (0, None, 60, 0, (0, 60)),
            // The configured time begins when the answer is whole, the backend's when it begins.
            (0, None, 60, 10, (10, 60)),
            (0, Some(30), 60, 10, (10, 20)),
            (0, Some(90), 60, 10, (10, 60)),
            (0, Some(10), 60, 10, (10, 0)),
            (20, None, 60, 0, (20, 40)),
            (60, None, 60, 0, (60, 0)),
            (20, Some(30), 60, 0, (20, 30)),
            (u64::MAX, Some(u64::MAX), u64::MAX, 10, (u64::MAX, 0)),
            (0, Some(u64::MAX), u64::MAX, 0, (0, u64::MAX)),
        ] {
            assert_eq!(
                at(age, left, ttl, coming),
                expected,
                "{age} {left:?} {ttl} {coming}"
            );
        }
        let time = Time {
            said: Freshness::UNSAID,
            received_at: NOW + seconds(5),
            ttl: seconds(60),
        };
        assert_eq!(
            time.at(NOW),
            (Duration::ZERO, seconds(60)),
            "the clock was set back"
        );
    }
}
