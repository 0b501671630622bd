//! The copy of an answer that is taken while it is passed on.
//!
//! It stops and frees what it has as soon as the answer is larger than is worth keeping, so that a
//! long stream never costs more memory than the largest answer in the cache.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Stored, keepable};

/// What a piece costs beside its bytes: the handle that the list of pieces keeps of it.
pub(super) const PIECE_OVERHEAD: usize = size_of::<Bytes>() + 16;

/// Collects one answer. All texts are copied into one buffer: what comes from a connection may be a
/// slice of a larger one, and would keep all of that alive.
#[derive(Debug)]
pub struct CopyBuffer {
    status: u16,
    max_bytes: usize,
    /// `None` once the body was too large.
    copied: Option<Copied>,
}

#[derive(Debug)]
struct Copied {
    /// The values of the headers, then the body.
    bytes: Vec<u8>,
    /// Where each header's value ends.
    headers: Vec<(HeaderName, usize)>,
    /// Where each piece of the body ends.
    ends: Vec<usize>,
}

impl CopyBuffer {
    /// For an answer with this head, and a body of at most `max_bytes`, each piece counted with a
    /// small overhead. Headers that make no sense a second time are left out.
    #[must_use]
    pub fn new(status: u16, headers: &HeaderMap, max_bytes: usize) -> Self {
        let values = headers.values().map(HeaderValue::len).sum::<usize>();
        let announced = headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let body = announced.unwrap_or(0).min(max_bytes);
        let mut bytes = Vec::with_capacity(values + body);
        let mut kept = Vec::with_capacity(headers.len());
        for (name, value) in keepable::lasting(headers) {
            bytes.extend_from_slice(value.as_bytes());
            kept.push((name.clone(), bytes.len()));
        }
        CopyBuffer {
            status,
            max_bytes,
            copied: Some(Copied {
                bytes,
                headers: kept,
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
        let end = copied.bytes.len() + piece.len();
        let overhead = (copied.ends.len() + 1) * PIECE_OVERHEAD;
        if end - copied.body_at() + overhead > self.max_bytes {
            self.copied = None;
            return;
        }
        copied.bytes.extend_from_slice(piece);
        copied.ends.push(end);
    }

    /// The answer as it came, whole at `stored_at` (since the Unix epoch), or `None` when its body was
    /// too large.
    #[must_use]
    pub fn finish(self, stored_at: Duration) -> Option<Stored> {
        let Copied {
            mut bytes,
            headers,
            ends,
        } = self.copied?;
        bytes.shrink_to_fit();
        let text_bytes = bytes.len();
        let whole = Bytes::from(bytes);
        let mut start = 0;
        let mut slice = |end| {
            let slice = whole.slice(start..end);
            start = end;
            slice
        };
        let mut kept = Vec::with_capacity(headers.len());
        for (name, end) in headers {
            // The bytes were a value before.
            if let Ok(value) = HeaderValue::from_maybe_shared(slice(end)) {
                kept.push((name, value));
            }
        }
        Some(Stored {
            status: self.status,
            headers: kept.into_boxed_slice(),
            chunks: ends.into_iter().map(slice).collect(),
            stored_at,
            text_bytes,
        })
    }
}

impl Copied {
    fn body_at(&self) -> usize {
        self.headers.last().map_or(0, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_790_000_000);

    fn copy(max_bytes: usize) -> CopyBuffer {
        CopyBuffer::new(200, &HeaderMap::new(), max_bytes)
    }

    fn chunks(copy: CopyBuffer) -> Option<Box<[Bytes]>> {
        copy.finish(NOW).map(|stored| stored.chunks)
    }

    #[test]
    fn pieces_come_back_as_they_came() {
        let mut copy = copy(1_000);
        copy.push(Bytes::from_static(b"data: 1\n\n"));
        copy.push(b"");
        copy.push("data: 2\n\n");
        let pieces = chunks(copy).expect("small enough");
        assert_eq!(pieces[..], ["data: 1\n\n", "data: 2\n\n"]);
    }

    #[test]
    fn an_empty_body_is_a_body() {
        assert_eq!(chunks(copy(0)), Some([].into()));
    }

    #[test]
    fn a_body_past_the_bound_is_let_go_for_good() {
        let exact = 10 + PIECE_OVERHEAD;
        let mut copied = copy(exact);
        copied.push([0; 10]);
        assert!(chunks(copied).is_some());
        let mut copied = copy(exact - 1);
        copied.push([0; 10]);
        assert!(copied.copied.is_none(), "freed at once");
        copied.push([0; 1]);
        assert_eq!(chunks(copied), None);
        let mut copied = copy(1_000);
        for _ in 0..1_000 {
            copied.push([0; 1]);
        }
        assert_eq!(
            chunks(copied),
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
        let lines = stored.headers.iter();
        let lines: Vec<_> = lines
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let expected: [(&str, &[u8]); 3] =
            [("etag", b"vvvvvvvvvv"), ("etag", b"vv"), ("x-empty", b"")];
        assert_eq!(lines, expected);
        assert_eq!((stored.status, stored.stored_at), (201, NOW));
        assert_eq!(stored.chunks[..], ["vvvvvvvvvv"]);
    }
}
