//! The answer stage: writes responses to clients.
//!
//! A backend's response is forwarded as it arrives, byte for byte. What weir reads from it (first
//! token, token usage) and copies (for the cache) is bounded, whatever its size. A stream that the backend
//! truncates is never ended as if it were complete.

pub(crate) mod ahead;
pub(crate) mod bytes_ahead;
pub(crate) mod copying;
pub(crate) mod deliver;
pub(crate) mod filter;
pub(crate) mod framing;
mod gzipped;
pub(crate) mod head;
pub(crate) mod local;
mod next;
mod outpace;
pub(crate) mod reused;
pub mod server_timing;
pub(crate) mod stored;
mod tail;
pub(crate) mod text;
pub(crate) mod timeouts;
pub(crate) mod usage_stripper;
mod whole;

/// How a response reached the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseOutcome {
    Whole,
    /// The backend closed the connection or stalled for too long after the head had been written.
    CutShort,
    ClientLeft,
    /// The client disconnected when only the end of the framing was missing.
    LeftAtEnd,
}
