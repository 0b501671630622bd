//! Lock files: one process at a time (flock(2)).

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Acquires the lock file at `path`, and creates it if it does not exist. The lock is held until the file is
/// dropped or the process ends, even if it is killed.
///
/// # Errors
/// When another process or another part of this process holds it, or the file cannot be created.
pub fn take(path: &Path) -> io::Result<File> {
    let with_path = |error: io::Error| {
        let message = format!("cannot open the lock {}: {error}", path.display());
        io::Error::new(error.kind(), message)
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(with_path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another process holds the lock {}", path.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}
