//! The copy of an answer that is taken while it is passed on.
//!
//! It stops and frees what it has as soon as the answer is larger than is worth keeping, so that a
//! long stream never costs more memory than the largest answer in the cache.

use bytes::Bytes;

/// What a piece costs beside its bytes: the handle that the list of pieces keeps of it.
pub(super) const PIECE_OVERHEAD: usize = size_of::<Bytes>() + 16;

/// Collects the pieces of one body. The bytes are copied into one buffer: a piece that comes from a
/// connection may be a slice of a larger one, and would keep all of that alive.
#[derive(Debug)]
pub struct CopyBuffer {
    max_bytes: usize,
    /// `None` once the body was too large.
    copied: Option<Copied>,
}

#[derive(Debug, Default)]
struct Copied {
    bytes: Vec<u8>,
    /// Where each piece ends.
    ends: Vec<usize>,
}

impl CopyBuffer {
    /// For a body of at most `max_bytes`, each piece counted with a small overhead.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        CopyBuffer {
            max_bytes,
            copied: Some(Copied::default()),
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
        let bytes = copied.bytes.len() + piece.len();
        let overhead = (copied.ends.len() + 1) * PIECE_OVERHEAD;
        if bytes + overhead > self.max_bytes {
            self.copied = None;
            return;
        }
        copied.bytes.extend_from_slice(piece);
        copied.ends.push(bytes);
    }

    /// The pieces as they came, or `None` when the body was too large.
    #[must_use]
    pub fn finish(self) -> Option<Vec<Bytes>> {
        let Copied { mut bytes, ends } = self.copied?;
        bytes.shrink_to_fit();
        let whole = Bytes::from(bytes);
        let mut start = 0;
        let pieces = ends.into_iter().map(|end| {
            let piece = whole.slice(start..end);
            start = end;
            piece
        });
        Some(pieces.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_as_they_came() {
        let mut copy = CopyBuffer::new(1_000);
        copy.push(Bytes::from_static(b"data: 1\n\n"));
        copy.push(b"");
        copy.push("data: 2\n\n");
        let pieces = copy.finish().expect("small enough");
        assert_eq!(pieces, ["data: 1\n\n", "data: 2\n\n"]);
    }

    #[test]
    fn an_empty_body_is_a_body() {
        assert_eq!(CopyBuffer::new(0).finish(), Some(Vec::new()));
    }

    #[test]
    fn a_body_past_the_bound_is_let_go_for_good() {
        let exact = 10 + PIECE_OVERHEAD;
        let mut copy = CopyBuffer::new(exact);
        copy.push([0; 10]);
        assert!(copy.finish().is_some());
        let mut copy = CopyBuffer::new(exact - 1);
        copy.push([0; 10]);
        assert!(copy.copied.is_none(), "freed at once");
        copy.push([0; 1]);
        assert_eq!(copy.finish(), None);
        let mut copy = CopyBuffer::new(1_000);
        for _ in 0..1_000 {
            copy.push([0; 1]);
        }
        assert_eq!(copy.finish(), None, "tiny pieces count with their overhead");
    }

    #[test]
    fn a_copy_does_not_keep_the_buffer_it_came_from() {
        let buffer = Bytes::from(vec![7; 100_000]);
        let mut copy = CopyBuffer::new(1_000);
        copy.push(buffer.slice(..10));
        assert!(buffer.is_unique());
        drop(copy);
    }
}
