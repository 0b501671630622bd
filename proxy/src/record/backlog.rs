//! The lines that wait for a writer: batches of one size.
//!
//! A writer that falls behind, because its disk or its processor is busy, must not make the process grow by more than
//! what waits: one buffer would double its capacity, be copied while requests wait for its lock, and keep its peak.

use std::collections::VecDeque;
use std::mem;

use super::batch::{BatchLine, LineBatch};
use crate::exchange::RequestId;

/// Lines in order, bounded by the caller.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Batches without room for more, the oldest first.
    full: VecDeque<LineBatch>,
    /// Receives new lines.
    open: LineBatch,
    /// An empty one, whose buffer is used again.
    spare: LineBatch,
    bytes: usize,
}

impl Backlog {
    pub(super) fn push(&mut self, id: &RequestId, line: &[u8]) {
        if !self.open.has_room(line) {
            let spare = mem::take(&mut self.spare);
            self.full.push_back(mem::replace(&mut self.open, spare));
        }
        self.open.push(id, line);
        self.bytes += line.len() + 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn bytes_length(&self) -> usize {
        self.bytes
    }

    pub(super) fn count(&self) -> usize {
        self.batches().map(|batch| batch.lines().count()).sum()
    }

    /// Moves the oldest batch into `batch`, which is empty.
    pub(super) fn take(&mut self, batch: &mut LineBatch) {
        match self.full.pop_front() {
            Some(oldest) => self.spare = mem::replace(batch, oldest),
            None => mem::swap(&mut self.open, batch),
        }
        self.bytes -= batch.bytes_length();
    }

    /// At least the last `count` lines, or all, oldest first.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = BatchLine<'_>> {
        self.batches()
            .flat_map(move |batch| batch.lines().last(count))
    }

    fn batches(&self) -> impl Iterator<Item = &LineBatch> {
        self.full.iter().chain([&self.open])
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::BATCH_BYTES;
    use super::*;

    #[test]
    fn batches_are_taken_in_order_and_none_is_larger_than_its_size() {
        let id = RequestId::fixed(&"0".repeat(26));
        let mut backlog = Backlog::default();
        let lines: Vec<Vec<u8>> = (0..100_u32)
            .map(|number| number.to_string().repeat(10_000).into_bytes())
            .collect();
        for line in &lines {
            backlog.push(&id, line);
        }
        let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert_eq!((backlog.bytes_length(), backlog.count()), (bytes, 100));
        let last: Vec<_> = backlog.last(1).map(|line| line.bytes.to_vec()).collect();
        assert_eq!(last.last(), lines.last());

        let (mut batch, mut taken) = (LineBatch::default(), Vec::new());
        while !backlog.is_empty() {
            backlog.take(&mut batch);
            assert!(batch.bytes_length() <= BATCH_BYTES);
            taken.extend(
                batch
                    .lines()
                    .last(usize::MAX)
                    .map(|line| line.bytes.to_vec()),
            );
            batch.clear();
        }
        assert_eq!(taken, lines);
        assert_eq!((backlog.bytes_length(), backlog.count()), (0, 0));
    }
}
