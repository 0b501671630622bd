//! How reading from a client, and writing to it, fail; and what a client does once it has sent its request.

/// Why the rest of a request body cannot be read.
#[derive(Debug)]
pub(crate) enum BodyReadError {
    /// Its framing is invalid, in this way.
    Malformed(&'static str),
    /// Nothing came for too long.
    Stalled,
    ClientLeft,
}

/// The client did not take what was written: it left, or does not read.
#[derive(Debug)]
pub(crate) struct WriteError;

/// What a client did after it had sent its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterRequest {
    Left,
    /// It sent more than its request.
    SentMore,
}
