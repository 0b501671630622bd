//! Errors of reading from and writing to a client, and what a client does after it has sent its request.

/// Why the rest of a request body cannot be read.
#[derive(Debug)]
pub(crate) enum BodyReadError {
    /// Its framing is invalid: a description of the error.
    Malformed(&'static str),
    /// Nothing arrived for too long.
    Stalled,
    ClientLeft,
}

/// A write to the client failed: it has disconnected, or does not read.
#[derive(Debug)]
pub(crate) struct WriteError;

/// What a client did after it had sent its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterRequest {
    Left,
    /// It sent more than its request.
    SentMore,
}
