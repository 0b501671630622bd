//! What is known of a model call: model, token usage, outcome, read from its request and its response while they are
//! forwarded, in the formats of all providers.
//!
//! A leaf: it knows no stage. It reads every piece and changes none, in bounded memory; malformed text yields nothing.

pub mod ending;
pub mod estimate;
pub mod json;
pub mod operation;
pub mod request;
pub mod response;
pub mod sse;
pub mod usage;
pub mod usage_chunk;

/// Names longer than this are cut: they go into events, and an answer may hold anything.
const NAME_BYTES_MAX: usize = 128;

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}
