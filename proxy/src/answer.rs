//! Stage seven: passes the answer on as it comes, byte for byte.
//!
//! What it reads on the way (first token, tokens used) and keeps (a copy for the cache) is bounded
//! whatever the answer's size. A stream that the backend cuts is never ended as if it were whole.

pub(crate) mod ahead;
pub(crate) mod copying;
pub(crate) mod deliver;
pub(crate) mod framing;
pub(crate) mod head;
mod last;
pub(crate) mod local;
mod next;
mod recoded;
pub(crate) mod waits;
pub(crate) mod withheld;

/// How a backend's answer reached the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    Whole,
    /// The backend broke off, or stood still for too long, after the head had gone out.
    CutShort,
    ClientLeft,
    /// The client left when it had all but the end of the framing.
    LeftAtEnd,
}
