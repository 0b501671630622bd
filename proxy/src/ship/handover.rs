//! The spool when a process hands over to its successor.
//!
//! Only one process may have the spool. The predecessor continues in a directory of its own within it, from which it still
//! ships while it drains, and the successor opens the spool. What is left in that directory when the predecessor has
//! ended, however it ended, the successor moves to the spool.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Ship;
use super::adopt;
use super::dataset::Dataset;
use super::ledger::Settled;

/// The directories of predecessors, followed by a process id.
const DRAINING: &str = "draining-";
/// How many names are tried.
const NAMES_MAX: u32 = 1000;

/// The spools of predecessors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainedSpools {
    /// How many have been moved.
    pub moved: usize,
    /// How many are left: in use, or with events that do not fit now.
    pub left: usize,
}

impl Ship {
    /// Frees the spool for a successor, and continues in a directory of its own.
    ///
    /// # Errors
    /// When the disk rejects it; then nothing has changed.
    pub fn hand_over(&self) -> io::Result<()> {
        let path = self.spool.directory();
        let id = std::process::id();
        for number in 0..NAMES_MAX {
            let directory = path.join(format!("{DRAINING}{id}-{number}"));
            match self.spool.relocate(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                outcome => {
                    *self.handed_over.lock() = outcome?;
                    return Ok(());
                }
            }
        }
        Err(io::Error::other(
            "there is no free name for the spool of a draining process",
        ))
    }

    /// Takes back what the spool still has after [`Ship::hand_over`], because the successor has failed.
    ///
    /// # Errors
    /// When the spool cannot be read, or the successor still has its lock.
    pub fn take_back(&self) -> io::Result<()> {
        let moved = adopt::take_back(self.spool.directory(), &self.spool, &self.ledgers)?;
        let handed_over = std::mem::take(&mut *self.handed_over.lock());
        for dataset in Dataset::ALL {
            let gone = handed_over.of(dataset).saturating_sub(*moved.of(dataset));
            // The successor has shipped them.
            self.ledgers.of(dataset).settle(Settled::Indexed, gone);
        }
        Ok(())
    }

    /// Moves what predecessors that have ended left into the spool.
    pub fn adopt_drained(&self) -> DrainedSpools {
        let mut found = DrainedSpools::default();
        for directory in directories(self.spool.directory()) {
            if self.spool.is_in(&directory) {
                continue;
            }
            match adopt::adopt_drained(&directory, &self.spool, &self.ledgers) {
                Ok(events) => {
                    found.moved += 1;
                    log::info!("spool: took over {events} events of the previous process");
                }
                Err(error) => {
                    found.left += 1;
                    if error.kind() != io::ErrorKind::ResourceBusy {
                        let path = directory.display();
                        log::error!("spool: cannot take over the events in {path}: {error}");
                    }
                }
            }
        }
        found
    }
}

fn directories(spool: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(spool) else {
        return Vec::new();
    };
    let is_drained = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(DRAINING)) && path.is_dir()
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut directories: Vec<_> = paths.filter(is_drained).collect();
    directories.sort();
    directories
}
