//! Lock files that one process holds exclusively.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Locks the file at `path`, creating it if necessary. The lock is held until the file is dropped or the process ends,
/// however it ends (flock(2)).
///
/// # Errors
/// When another process, or another part of this one, holds the lock, or the file cannot be created.
pub fn take(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| {
        let message = format!("cannot open the lock {}: {error}", path.display());
        io::Error::new(error.kind(), message)
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(named)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another process holds {}", path.display());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}
