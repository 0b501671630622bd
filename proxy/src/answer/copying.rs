//! The copy of a response for the cache, taken while the response is delivered.
//!
//! It is stored as soon as the response is known to be complete, so that an equal request right after it
//! is a hit. Bytes that arrive afterwards still belong to the response: the cache then gets the complete response
//! instead, or nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::refusal::ErrorCode;

/// Whether the copy is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyStored {
    Yes,
    No,
}

/// A copy of a response for the cache.
pub(crate) trait ResponseCopy: Send {
    /// Adds the next piece of the body.
    fn push(&mut self, piece: &Bytes);

    /// Whether the copied body ends with these bytes.
    fn ends_with(&self, end: &[u8]) -> bool;

    /// Stores the response, complete at `stored_at` (since the Unix epoch), unless its copy must not be
    /// stored. More may be added afterwards, and the whole stored again.
    fn store(&mut self, stored_at: Duration) -> CopyStored;

    /// Removes the stored response.
    fn remove(&mut self);

    /// The backend's response has ended.
    fn end(&mut self, end: CopyEnd);

    /// The requests that follow this one, if any may.
    fn followers(&self) -> Option<&dyn Followers>;
}

/// How the response ended that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyEnd {
    /// With its framing; with an error inside, if there is a code.
    Whole(Option<ErrorCode>),
    /// Before its end.
    Cut(ErrorCode),
}

/// Requests that get the same response as this one (request coalescing).
pub(crate) trait Followers {
    fn are_any(&self) -> bool;

    /// Whether they have read enough for the next piece to be read.
    fn have_room(&self) -> bool;

    /// How much may be read ahead of the own client for them.
    fn bytes_ahead_max(&self) -> usize;

    /// What has been read ahead of all clients that others follow.
    fn bytes_ahead(&self) -> Arc<AtomicUsize>;

    /// Notified when one has joined, read or left.
    fn changed(&self) -> Arc<Notify>;
}

/// When a copy may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredOnce {
    /// The response has been read, and is complete and successful.
    Successful,
    /// Its framing is complete.
    Complete,
}

/// A copy that is being taken.
pub(crate) struct Copying<'a> {
    copy: &'a mut dyn ResponseCopy,
    stored_once: StoredOnce,
    state: State,
}

/// How much of the copy is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Nothing,
    All,
    /// What has arrived since is missing.
    Part,
}

impl<'a> Copying<'a> {
    pub(crate) fn new(copy: &'a mut dyn ResponseCopy, stored_once: StoredOnce) -> Self {
        Copying {
            copy,
            stored_once,
            state: State::Nothing,
        }
    }

    pub(crate) fn stored_once(&self) -> StoredOnce {
        self.stored_once
    }

    pub(super) fn push(&mut self, piece: &Bytes) {
        if self.state == State::All && !piece.is_empty() {
            self.state = State::Part;
        }
        self.copy.push(piece);
    }

    /// Whether the copied body ends with one of these.
    pub(super) fn ends_with_any(&self, ends: &[&[u8]]) -> bool {
        ends.iter().any(|end| self.copy.ends_with(end))
    }

    pub(super) fn is_stored(&self) -> CopyStored {
        match self.state {
            State::All => CopyStored::Yes,
            State::Nothing | State::Part => CopyStored::No,
        }
    }

    /// The response is complete and successful.
    pub(super) fn store(&mut self, stored_at: Duration) {
        if self.state == State::All {
            return;
        }
        match self.copy.store(stored_at) {
            CopyStored::Yes => self.state = State::All,
            CopyStored::No => self.remove(),
        }
    }

    /// The backend's response has ended.
    pub(super) fn end(&mut self, end: CopyEnd) {
        self.copy.end(end);
    }

    /// The requests that follow this one, if any may.
    pub(super) fn followers(&self) -> Option<&dyn Followers> {
        self.copy.followers()
    }

    /// The response must not be stored.
    pub(super) fn remove(&mut self) {
        if self.state != State::Nothing {
            self.copy.remove();
            self.state = State::Nothing;
        }
    }
}

/// Removes a copy that lacks its last bytes: it is not known whether they were valid.
impl Drop for Copying<'_> {
    fn drop(&mut self) {
        if self.state == State::Part {
            self.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of one response.
    #[derive(Default)]
    struct Cache {
        copied: Vec<u8>,
        stored: Option<Vec<u8>>,
    }

    impl ResponseCopy for Cache {
        fn push(&mut self, piece: &Bytes) {
            self.copied.extend_from_slice(piece);
        }

        fn ends_with(&self, end: &[u8]) -> bool {
            self.copied.ends_with(end)
        }

        fn store(&mut self, _: Duration) -> CopyStored {
            self.stored = Some(self.copied.clone());
            CopyStored::Yes
        }

        fn remove(&mut self) {
            self.stored = None;
        }

        fn end(&mut self, _: CopyEnd) {}

        fn followers(&self) -> Option<&dyn Followers> {
            None
        }
    }

    #[test]
    fn bytes_after_the_end_replace_or_remove_the_stored_copy() {
        let mut cache = Cache::default();
        let mut copying = Copying::new(&mut cache, StoredOnce::Successful);
        copying.push(&Bytes::from_static(b"a"));
        copying.store(Duration::ZERO);
        assert_eq!(copying.is_stored(), CopyStored::Yes);
        copying.push(&Bytes::from_static(b"b"));
        assert_eq!(copying.is_stored(), CopyStored::No);
        copying.store(Duration::ZERO);
        drop(copying);
        assert_eq!(cache.stored.as_deref(), Some(&b"ab"[..]));

        let mut copying = Copying::new(&mut cache, StoredOnce::Successful);
        copying.store(Duration::ZERO);
        copying.push(&Bytes::from_static(b"c"));
        drop(copying);
        assert_eq!(cache.stored, None);
    }
}
