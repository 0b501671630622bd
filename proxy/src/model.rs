//! Reads model, token usage and outcome of a model call from its request and response while they are forwarded, in the
//! formats of all providers.
//!
//! A leaf: it depends on no stage. Nothing is modified, memory is bounded, and malformed text is ignored.

pub mod creation;
pub mod ending;
pub mod estimate;
pub mod json;
pub mod operation;
pub mod request;
pub mod response;
pub mod sse;
pub mod usage;
pub mod usage_chunk;

/// Longer names are truncated: they go into events, and a response may contain anything.
const NAME_BYTES_MAX: usize = 128;

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}
