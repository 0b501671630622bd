//! JSON and event streams, read incrementally: the result must not depend on the pieces in which they arrive.

use std::time::Instant;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::de::IgnoredAny;

use super::piece_size;
use crate::cache::canonical;
use crate::model::ending::Ending;
use crate::model::operation::Operation;
use crate::model::request::{RequestFacts, RequestReader};
use crate::model::response::{ResponseFacts, ResponseFormat, ResponseLayout, ResponseReader};
use crate::model::sse::SseDataReader;

/// One path for each operation, and one without an operation.
const PATHS: [&str; 12] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/rerank",
    "/v1/audio/transcriptions",
    "/v1beta/models/gemini:streamGenerateContent",
    "/api/chat",
    "/v2/chat",
    "/",
];

/// Input with a canonical text is valid JSON, and white space around it does not change the text.
pub fn canonical_json(data: &[u8]) {
    let Ok(text) = canonical::text_of(data) else {
        return;
    };
    assert!(text.len() <= data.len());
    let read: Result<IgnoredAny, _> = serde_json::from_slice(data);
    assert!(read.is_ok(), "{}", data.escape_ascii());
    let spaced = [b" \t\r\n", data, b"\n"].concat();
    assert_eq!(canonical::text_of(&spaced), Ok(text));
}

/// A stream has the same events in one piece and in several.
pub fn sse(data: &[u8]) {
    let Some((size, data)) = piece_size(data) else {
        return;
    };
    let whole = events_of(data.chunks(data.len().max(1)));
    assert_eq!(events_of(data.chunks(size)), whole);
}

fn events_of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    let mut scanner = SseDataReader::new();
    for piece in pieces {
        scanner.feed(piece, |data| events.push(data.to_vec()));
    }
    scanner.finish(|data| events.push(data.to_vec()));
    events
}

/// A response of a model has the same usage, ending and layout in one piece and in several.
pub fn model_response(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let Some((size, data)) = piece_size(data) else {
        return;
    };
    let format = match choice & 1 {
        0 => ResponseFormat::Json,
        _ => ResponseFormat::Sse,
    };
    let operation = Operation::of(PATHS[usize::from(choice >> 1) % PATHS.len()]);
    let now = crate::clock::now();
    let whole = facts_of(format, operation, now, data.chunks(data.len().max(1)));
    let pieces = facts_of(format, operation, now, data.chunks(size));
    assert_eq!(pieces, whole);
}

fn facts_of<'a>(
    format: ResponseFormat,
    operation: Option<Operation>,
    now: Instant,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (ResponseLayout, Ending, bool, ResponseFacts) {
    let mut reader = ResponseReader::new(format, operation);
    for piece in pieces {
        reader.feed(piece, now);
    }
    let (layout, ending) = (reader.layout(), reader.ending());
    let is_successful = reader.is_successful();
    (layout, ending, is_successful, reader.finish())
}

/// A request has the same model, stream flag and text in one piece and in several: as JSON, as a form, or compressed.
pub fn model_request(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let Some((size, data)) = piece_size(data) else {
        return;
    };
    let mut headers = HeaderMap::new();
    let content_type = match choice & 3 {
        0 => "application/x-www-form-urlencoded",
        1 => "multipart/form-data; boundary=b",
        _ => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if choice & 12 == 0 {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let path = PATHS[usize::from(choice >> 4) % PATHS.len()];
    let Some(operation) = Operation::of(path) else {
        return;
    };
    let read = |size: usize| -> RequestFacts {
        let mut reader = RequestReader::of(operation, path, &headers).within(1 << 20);
        for piece in data.chunks(size) {
            reader.feed(piece);
        }
        reader.finish()
    };
    let (pieces, whole) = (read(size), read(data.len().max(1)));
    // How much of corrupt coded data is decoded depends on the pieces.
    if !headers.contains_key(CONTENT_ENCODING) {
        assert_eq!(pieces, whole);
    }
}
