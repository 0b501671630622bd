//! The copy of an answer that is taken while it is passed on.
//!
//! It stops and frees what it has as soon as the answer is larger than is worth keeping, so that a
//! long stream never costs more memory than the largest answer in the cache.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};

use super::{Length, Stored, keepable};

/// What a piece costs beside its bytes.
const PIECE_OVERHEAD: usize = size_of::<usize>();

/// Collects one answer. All of it is copied into one buffer: what comes from a connection may be a
/// slice of a larger one, and would keep all of that alive.
#[derive(Debug)]
pub struct CopyBuffer {
    status: u16,
    max_bytes: usize,
    length: Length,
    /// `None` once the body was too large.
    copied: Option<Copied>,
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
        let lines = lines.map(|(name, value)| name.as_str().len() + value.len() + 4);
        let head_room = lines.sum::<usize>();
        let mut text = Vec::with_capacity(head_room + announced.unwrap_or(0).min(max_bytes));
        for (name, value) in keepable::lasting(headers) {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        CopyBuffer {
            status,
            max_bytes,
            length: announced.map_or(Length::Open, |_| Length::Announced),
            copied: Some(Copied {
                head_bytes: text.len(),
                text,
                ends: Vec::new(),
            }),
        }
    }

    /// Adds a piece as it came; an empty one is nothing.
    pub fn push(&mut self, piece: impl AsRef<[u8]>) {
        let piece = piece.as_ref();
        let Some(copied) = &mut self.copied else {
            return;
        };
        if piece.is_empty() {
            return;
        }
        let end = copied.text.len() + piece.len();
        let overhead = (copied.ends.len() + 1) * PIECE_OVERHEAD;
        if end - copied.head_bytes + overhead > self.max_bytes {
            self.copied = None;
            return;
        }
        copied.text.extend_from_slice(piece);
        copied.ends.push(end);
    }

    /// Whether what was copied of the body so far ends so.
    #[must_use]
    pub fn ends_with(&self, end: &[u8]) -> bool {
        let copied = self.copied.as_ref();
        copied.is_some_and(|copied| copied.text[copied.head_bytes..].ends_with(end))
    }

    /// The answer as it came, whole at `stored_at` (since the Unix epoch), or `None` when its body was
    /// too large.
    #[must_use]
    pub fn finish(self, stored_at: Duration) -> Option<Stored> {
        let Copied {
            mut text,
            head_bytes,
            ends,
        } = self.copied?;
        text.shrink_to_fit();
        Some(Stored {
            status: self.status,
            stored_at,
            text: Bytes::from(text),
            head_bytes,
            ends: (ends.len() > 1).then(|| ends.into_boxed_slice()),
            length: self.length,
        })
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
}
