//! What a model call says of itself: read from its question and its answer as they pass, whoever's format
//! they are in.
//!
//! A leaf: it knows neither HTTP messages nor stages. It sees every piece, changes none, holds a bounded
//! part whatever comes, and takes nothing worse than nothing from text that is not what it should be.

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
