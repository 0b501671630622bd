//! The copy of an answer on its way into the cache.
//!
//! It is kept as soon as the answer has said that it is whole, so that the same question right behind it
//! finds it. What comes after that all the same belongs to it: then the cache gets the whole in its place,
//! or nothing.

use std::time::Duration;

use bytes::Bytes;

use crate::cache::Stored;
use crate::cache::copy::CopyBuffer;

/// Whether the copy of an answer is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    No,
}

/// Puts an answer into the cache, or takes out what was put there.
pub(crate) type Keep<'a> = &'a (dyn Fn(Option<Stored>) + Sync);

/// A copy on its way, and who takes it.
pub(crate) struct Copying<'a> {
    copy: CopyBuffer,
    keep: Keep<'a>,
    state: State,
}

/// What the cache has of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Nothing,
    All,
    /// Not what came since.
    Part,
}

impl<'a> Copying<'a> {
    pub(crate) fn new(copy: CopyBuffer, keep: Keep<'a>) -> Self {
        Copying {
            copy,
            keep,
            state: State::Nothing,
        }
    }

    pub(super) fn push(&mut self, piece: &Bytes) {
        if self.state == State::All && !piece.is_empty() {
            self.state = State::Part;
        }
        self.copy.push(piece);
    }

    /// Whether what was copied of the body so far ends with one of these.
    pub(super) fn ends_with_any(&self, ends: &[&[u8]]) -> bool {
        ends.iter().any(|end| self.copy.ends_with(end))
    }

    pub(super) fn kept(&self) -> Kept {
        match self.state {
            State::All => Kept::Yes,
            State::Nothing | State::Part => Kept::No,
        }
    }

    /// The answer is whole and good.
    pub(super) fn keep(&mut self, stored_at: Duration) {
        if self.state == State::All {
            return;
        }
        match self.copy.stored(stored_at) {
            Some(stored) => {
                (self.keep)(Some(stored));
                self.state = State::All;
            }
            None => self.forget(),
        }
    }

    /// The answer is none to keep.
    pub(super) fn forget(&mut self) {
        if self.state != State::Nothing {
            (self.keep)(None);
            self.state = State::Nothing;
        }
    }
}

/// Nobody knows whether what came last was right.
impl Drop for Copying<'_> {
    fn drop(&mut self) {
        if self.state == State::Part {
            self.forget();
        }
    }
}
