//! Decides when a changed file is loaded: debounced, when two snapshots in a row agree. Pure: the snapshots are passed in.

/// What a snapshot means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    Unchanged,
    /// It has changed, and may still be written: a half-written file can be valid.
    Changing,
    /// It has changed, and two snapshots in a row are equal.
    Changed,
}

/// The snapshots so far.
#[derive(Debug)]
pub(super) struct ChangeDebounce<S> {
    /// Of the last load, whatever its outcome: an invalid file is loaded once.
    loaded: S,
    last: S,
}

impl<S: Clone + PartialEq> ChangeDebounce<S> {
    pub(super) fn new(loaded: S) -> Self {
        ChangeDebounce {
            last: loaded.clone(),
            loaded,
        }
    }

    /// Notes a snapshot.
    pub(super) fn check(&mut self, now: S) -> FileState {
        let is_stable = self.last == now;
        self.last = now;
        if self.last == self.loaded {
            FileState::Unchanged
        } else if is_stable {
            FileState::Changed
        } else {
            FileState::Changing
        }
    }

    /// Notes the snapshot that is loaded.
    pub(super) fn set_loaded(&mut self, snapshot: S) {
        self.loaded = snapshot.clone();
        self.last = snapshot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileState::{Changed, Changing, Unchanged};

    #[test]
    fn a_change_is_loaded_once_when_two_snapshots_agree() {
        let mut changes = ChangeDebounce::new("a");
        for (now, state) in [
            ("a", Unchanged),
            ("b", Changing),
            ("bc", Changing),
            ("bcd", Changing),
            ("bcd", Changed),
            ("bcd", Changed),
        ] {
            assert_eq!(changes.check(now), state, "{now}");
        }
        changes.set_loaded("bcd");
        for (now, state) in [
            ("bcd", Unchanged),
            // Gone for a moment, and back: nothing to load.
            ("", Changing),
            ("bcd", Unchanged),
            ("", Changing),
            ("", Changed),
        ] {
            assert_eq!(changes.check(now), state, "{now}");
        }
    }
}
