//! The bytes of a stored response, in segments of one size.
//!
//! Responses are between a hundred bytes and a megabyte long, and are freed in another order than they were allocated:
//! in one buffer each, they would leave gaps that none of the next fits into (fragmentation), and a cache could take
//! twice the memory that it is allowed. Gaps of one size are filled again.

use std::iter;
use std::ops::Range;

use bytes::Bytes;

/// The size of a segment: small beside the memory of a cache, and large enough to write a response in few pieces.
pub(super) const SEGMENT_BYTES: usize = 16 * 1024;
/// What a segment costs besides its bytes: where it is, and how many share it.
const SEGMENT_OVERHEAD: usize = size_of::<Bytes>() + 32;
/// Of the allocator's pages about this part is unused, since most threads have one for each size that is half full.
const PAGE_SLACK: usize = 32;

/// Bytes in segments; all but the first and the last have [`SEGMENT_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Segments {
    /// Of most responses the only one.
    first: Bytes,
    rest: Box<[Bytes]>,
}

/// Bytes that are still arriving.
#[derive(Debug, Default)]
pub(super) struct SegmentBuffer {
    /// Complete segments.
    full: Vec<Bytes>,
    /// The last one, until it is shared.
    open: Vec<u8>,
    shared: Option<Bytes>,
    /// The first one is larger if the head is.
    first_bytes_max: usize,
}

impl Segments {
    /// A copy of `bytes`, the first `head_bytes` in one segment.
    pub(super) fn copy_of(bytes: &[u8], head_bytes: usize) -> Self {
        let mut buffer =
            SegmentBuffer::with_room(head_bytes, bytes.len().saturating_sub(head_bytes));
        buffer.push(bytes);
        buffer.share()
    }

    pub(super) fn len(&self) -> usize {
        let full = self.rest.len().saturating_sub(1) * SEGMENT_BYTES;
        self.first.len() + full + self.rest.last().map_or(0, Bytes::len)
    }

    /// The first segment, which has the head.
    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }

    /// The bytes in `range`, in as many parts as segments; nothing is one empty part.
    pub(super) fn range(&self, range: Range<usize>) -> impl Iterator<Item = Bytes> {
        let (mut next, end) = (Some(range.start), range.end);
        iter::from_fn(move || {
            let start = next.take()?;
            let part = self.part(start..end);
            next = Some(start + part.len()).filter(|next| *next < end && !part.is_empty());
            Some(part)
        })
    }

    /// The first of the bytes in `range`: those in one segment.
    pub(super) fn part(&self, range: Range<usize>) -> Bytes {
        let (segment, at) = self.segment_at(range.start);
        let start = (range.start - at).min(segment.len());
        segment.slice(start..(range.end - at).clamp(start, segment.len()))
    }

    /// The bytes in `range`, which are copied if they are in several segments.
    pub(super) fn joined(&self, range: Range<usize>) -> Bytes {
        let first = self.part(range.clone());
        if first.len() >= range.len() {
            return first;
        }
        let mut joined = Vec::with_capacity(range.len());
        self.range(range)
            .for_each(|part| joined.extend_from_slice(&part));
        joined.into()
    }

    /// The segment with the byte at `offset`, and where it begins.
    fn segment_at(&self, offset: usize) -> (&Bytes, usize) {
        let Some(behind) = offset.checked_sub(self.first.len()) else {
            return (&self.first, 0);
        };
        match self.rest.get(behind / SEGMENT_BYTES) {
            Some(segment) => (segment, offset - behind % SEGMENT_BYTES),
            None => {
                let last = self.rest.last().unwrap_or(&self.first);
                (last, offset - last.len())
            }
        }
    }

    /// The memory that they take.
    pub(super) fn bytes(&self) -> usize {
        let allocated = self.allocated();
        allocated + allocated / PAGE_SLACK
    }

    fn allocated(&self) -> usize {
        let rest = self.rest.iter();
        let rest: usize = rest
            .map(|segment| allocated(segment.len()) + SEGMENT_OVERHEAD)
            .sum();
        allocated(self.first.len()) + rest
    }
}

impl SegmentBuffer {
    /// With room for a head, which is in one segment, and a body of this length.
    pub(super) fn with_room(head_bytes: usize, body_bytes: usize) -> Self {
        let first_bytes_max = head_bytes.max(SEGMENT_BYTES);
        let bytes = head_bytes.saturating_add(body_bytes);
        SegmentBuffer {
            open: Vec::with_capacity(bytes.min(first_bytes_max)),
            first_bytes_max,
            ..SegmentBuffer::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        let full: usize = self.full.iter().map(Bytes::len).sum();
        full + self.last().len()
    }

    /// Adds a part of the head: there is room for it.
    pub(super) fn push_head(&mut self, part: &[u8]) {
        self.open.extend_from_slice(part);
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(shared) = self.shared.take() {
            self.open = shared.to_vec();
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let bytes_max = match self.full.is_empty() {
                true => self.first_bytes_max,
                false => SEGMENT_BYTES,
            };
            if self.open.len() == bytes_max {
                let full = std::mem::take(&mut self.open);
                self.full.push(full.into());
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(bytes_max - self.open.len()));
            let bytes = self.open.len() + now.len();
            if bytes > self.open.capacity() {
                let capacity = (self.open.capacity() * 2).max(bytes).min(bytes_max);
                self.open.reserve_exact(capacity - self.open.len());
            }
            self.open.extend_from_slice(now);
            rest = later;
        }
    }

    /// The first segment, which has the head.
    pub(super) fn first(&self) -> &[u8] {
        self.full.first().map_or(self.last(), |first| first)
    }

    /// Whether the bytes from `start` on end with `end`.
    pub(super) fn ends_with(&self, start: usize, end: &[u8]) -> bool {
        if self.len() < start + end.len() {
            return false;
        }
        let segments = self.full.iter().map(|segment| &**segment);
        let mut end = end;
        for segment in segments.chain([self.last()]).rev() {
            let common = segment.len().min(end.len());
            let (rest, last) = end.split_at(end.len() - common);
            if !segment.ends_with(last) {
                return false;
            }
            end = rest;
        }
        end.is_empty()
    }

    /// What has arrived so far; it may be shared again after more was added.
    pub(super) fn share(&mut self) -> Segments {
        let open = &mut self.open;
        let last = self
            .shared
            .get_or_insert_with(|| exact(std::mem::take(open)));
        let mut segments = self.full.iter().chain([&*last]).cloned();
        Segments {
            first: segments.next().unwrap_or_default(),
            rest: segments.collect(),
        }
    }

    fn last(&self) -> &[u8] {
        self.shared.as_deref().unwrap_or(&self.open)
    }
}

/// These bytes in an allocation that is no larger than they need.
fn exact(bytes: Vec<u8>) -> Bytes {
    match allocated(bytes.capacity()) == allocated(bytes.len()) {
        true => bytes.into(),
        // An allocator may shrink a block in place, and waste up to half of it.
        false => Bytes::copy_from_slice(&bytes),
    }
}

/// What mimalloc takes for an allocation: four sizes between two powers of two.
pub(super) const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=64 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|number| (number % 251) as u8).collect()
    }

    #[test]
    fn bytes_are_the_same_in_segments() {
        let edges = [0, 1, 2 * SEGMENT_BYTES];
        let sizes = edges
            .into_iter()
            .flat_map(|edge| [edge, edge + 1, edge + SEGMENT_BYTES - 1]);
        for size in sizes {
            let expected = numbered(size);
            for piece in [1_000, SEGMENT_BYTES, SEGMENT_BYTES + 1, usize::MAX] {
                let mut buffer = SegmentBuffer::with_room(0, 0);
                expected.chunks(piece).for_each(|piece| buffer.push(piece));
                assert_eq!(buffer.len(), size);
                assert!(buffer.ends_with(0, &expected[size / 2..]));
                assert!(!buffer.ends_with(size / 2 + 1, &expected[size / 2..]));
                assert!(!buffer.ends_with(0, &[255]));
                let segments = buffer.share();
                assert_eq!(
                    (segments.len(), segments.range(0..size).count()),
                    (size, size.div_ceil(SEGMENT_BYTES).max(1))
                );
                for range in [0..size, size / 3..size / 2, size..size] {
                    let parts: Vec<_> = segments.range(range.clone()).collect();
                    assert_eq!(
                        parts.concat(),
                        expected[range.clone()],
                        "{range:?} of {size}"
                    );
                }
                assert_eq!(segments, Segments::copy_of(&expected, 0));
            }
        }
    }

    #[test]
    fn a_head_is_in_one_segment_and_more_may_follow_what_was_shared() {
        let head = numbered(SEGMENT_BYTES + 10);
        let mut buffer = SegmentBuffer::with_room(head.len(), 5);
        buffer.push(&head);
        buffer.push(b"12345");
        let before = buffer.share();
        assert_eq!(before.first(), head);
        buffer.push(b"67");
        let after = buffer.share();
        assert_eq!(
            before.range(head.len()..head.len() + 5).collect::<Vec<_>>(),
            ["12345"]
        );
        assert_eq!(
            after.range(head.len()..after.len()).collect::<Vec<_>>(),
            ["1234567"]
        );
    }

    #[test]
    fn allocations_are_rounded_as_the_allocator_does() {
        let sizes = [
            (1, 16),
            (64, 64),
            (65, 80),
            (600, 640),
            (1_024, 1_024),
            (1_025, 1_280),
            (16_384, 16_384),
        ];
        for (bytes, expected) in sizes {
            assert_eq!(allocated(bytes), expected, "{bytes}");
        }
        let mut slack = Vec::with_capacity(1_000);
        slack.extend_from_slice(&[0; 600]);
        let (before, exact) = (slack.as_ptr(), exact(slack));
        assert!(exact.as_ptr() != before && exact.len() == 600);
    }
}
