//! The fuzz targets: one function for each reader of untrusted bytes. It accepts any bytes and panics if a
//! property of the reader is violated.
//!
//! `proxy/fuzz` runs them with libFuzzer (`make fuzz`). The seeds in `proxy/fuzz/seeds`, cut and changed in
//! simple ways, also run as a test here.

pub mod http;
pub mod json;
pub mod local;
pub mod signature;

/// A reader of arbitrary bytes.
pub type FuzzTarget = fn(&[u8]);

/// Every target by the name of its binary and of its folder of seeds.
pub const TARGETS: [(&str, FuzzTarget); 13] = [
    ("canonical_json", json::canonical_json),
    ("chunks", http::chunks),
    ("config", local::config),
    ("feishu", signature::feishu),
    ("model_request", json::model_request),
    ("model_response", json::model_response),
    ("path", http::path),
    ("redaction", local::redaction),
    ("request_head", http::request_head),
    ("response_head", http::response_head),
    ("signature_headers", signature::headers),
    ("spool", local::spool),
    ("sse", json::sse),
];

/// The first byte as a piece size from 1 to 64, and the rest.
fn piece_size(data: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((usize::from(first % 64) + 1, rest))
}

#[cfg(test)]
mod tests;
