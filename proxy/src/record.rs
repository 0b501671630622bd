//! Stage eight: metrics and the event, once for every request, whatever became of it.
//!
//! The way of a request only formats its event and hands it to a bounded buffer; writing is a
//! thread of its own. It never waits for a disk.

use std::path::PathBuf;
use std::time::Duration;

pub mod event;
pub mod metrics;

/// The checked `events` block.
#[derive(Clone, Debug)]
pub struct Config {
    pub stdout: bool,
    pub file: Option<FileConfig>,
    /// `service.environment` of events.
    pub environment: String,
}

/// The event file.
#[derive(Clone, Debug)]
pub struct FileConfig {
    pub path: PathBuf,
    pub rotate_at_bytes: u64,
    /// Rotated files older than this are removed.
    pub keep: Duration,
}
