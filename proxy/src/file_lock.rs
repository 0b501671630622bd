//! Files that one process has for itself.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Takes the lock file at `path`, which is made where there is none. It is held until the file is
/// dropped or the process ends, however it ends (flock(2)).
///
/// # Errors
/// When another process, or somebody else in this one, holds it; or when the file cannot be made.
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
