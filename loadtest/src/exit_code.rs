//! The exit codes of the commands, and the prefix of their errors.

/// Every threshold passed.
pub const PASSED: u8 = 0;
/// A threshold failed.
pub const FAILED: u8 = 1;
/// The test could not run, or was interrupted.
pub const COULD_NOT_RUN: u8 = 2;

/// The prefix of the error message with [`COULD_NOT_RUN`].
pub const ERROR_PREFIX: &str = "weir-load: cannot run: ";
