//! Moves a spool in use to another directory, so that another process can open the first one.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::acks::Acks;
use super::inner::{SpoolState, Unsynced};
use super::{Spool, open_cursor, recovery};
use crate::file_lock;
use crate::ship::dataset::PerDataset;

impl Spool {
    /// From now on events are appended in `directory`, which must not exist, and those before stay where they are, synced
    /// and unlocked. Numbers continue: what a reader has read and not acknowledged yet can be acknowledged without effect.
    /// Returns how many events stay.
    ///
    /// # Errors
    /// When the directory cannot be created, or the disk rejects the sync; then nothing has changed.
    pub fn relocate(&self, directory: &Path) -> io::Result<PerDataset<u64>> {
        fs::create_dir(directory)?;
        let lock = file_lock::take(&directory.join("lock"))?;
        let cursor = open_cursor(&recovery::cursor_path(directory))?;
        let mut inner = self.inner.lock();
        inner.sync_active()?;
        if let Some(cursor) = inner.write_cursor()? {
            cursor.sync_data()?;
        }
        let end = inner.end;
        let alert = inner.alerts.len() as u64;
        let left = PerDataset {
            access: inner.acks.left(end).saturating_sub(alert),
            alert,
        };
        *inner = SpoolState {
            directory: directory.to_owned(),
            locks: vec![lock],
            segments: VecDeque::new(),
            active: None,
            end,
            acks: Acks::new(end),
            alerts: BTreeSet::new(),
            appended: inner.appended.clone(),
            marks: VecDeque::new(),
            cursor,
            generation: 0,
            saved: end,
            unsynced: Unsynced::Nothing,
            buffer: Vec::new(),
        };
        self.publish(&inner);
        Ok(left)
    }

    /// Whether events are appended in `directory`.
    #[must_use]
    pub fn is_in(&self, directory: &Path) -> bool {
        self.inner.lock().directory == directory
    }

    /// Also holds the lock of another directory.
    pub fn keep_lock(&self, lock: File) {
        self.inner.lock().locks.push(lock);
    }

    /// Gives up the directory: returns its lock.
    pub fn into_lock(self) -> Option<File> {
        self.inner.into_inner().locks.pop()
    }
}
