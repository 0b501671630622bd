//! Which requests may be served from the cache, by their path.
//!
//! Only those whose response depends on the request alone. A call that creates or changes an object (a file, a batch, a
//! thread, an image) is forwarded each time: it is not idempotent.

use crate::model::operation::Operation;

/// How a route matches a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// The configuration names the path: who enabled its cache knows its calls.
    Exact,
    /// A wildcard covers it, among other paths.
    Wildcard,
}

/// Collections of objects in OpenAI's, Anthropic's and Gemini's APIs. A path through one of them creates or changes an
/// object.
const COLLECTIONS: [&str; 20] = [
    "assistants",
    "audio",
    "cachedcontents",
    "chatkit",
    "containers",
    "conversations",
    "evals",
    "filesearchstores",
    "fine_tunes",
    "fine_tuning",
    "images",
    "interactions",
    "predictions",
    "realtime",
    "skills",
    "tunedmodels",
    "uploads",
    "vector_stores",
    "video",
    "videos",
];

/// Segments of a path that defer any operation.
const DEFERRING: [&str; 6] = ["async", "batch", "batches", "files", "queue", "threads"];

/// Segments that may precede `messages` and `responses` where they are the operations of these names, besides a version
/// and a deployment.
const BEFORE_OPERATIONS: [&str; 6] = ["anthropic", "api", "azure", "claude", "codex", "openai"];

/// Whether a request for this path may be served from the cache, whatever its body is. Under a wildcard only known
/// operations may.
pub(super) fn is_cacheable(
    path: &str,
    operation: Option<Operation>,
    path_match: PathMatch,
) -> bool {
    match (operation, path_match) {
        (Some(operation), _) if operation.creates() => false,
        // The suffix is unambiguous, and anything may precede it (`/assistants/v1/...`, a deployment called
        // `images`).
        (Some(Operation::Chat), _) => !leads_into(&DEFERRING, path),
        (Some(Operation::Messages | Operation::Responses), PathMatch::Wildcard)
            if !is_operation_itself(path) =>
        {
            false
        }
        (Some(_), _) | (None, PathMatch::Exact) => {
            !leads_into(&COLLECTIONS, path) && !leads_into(&DEFERRING, path)
        }
        (None, PathMatch::Wildcard) => false,
    }
}

/// Whether a path that ends with `messages` or `responses` is the operation, and not the messages of a session or the
/// responses of an agent.
fn is_operation_itself(path: &str) -> bool {
    let mut segments = path.trim_end_matches('/').rsplit('/');
    let mut last = segments.next().unwrap_or_default();
    if last.eq_ignore_ascii_case("compact") {
        last = segments.next().unwrap_or_default();
    }
    if !["messages", "responses"]
        .iter()
        .any(|name| last.eq_ignore_ascii_case(name))
    {
        // A method of Google's API, after the name of a model.
        return true;
    }
    let before = segments.next().unwrap_or_default();
    let above = segments.next().unwrap_or_default();
    before.is_empty()
        || is_version(before)
        || above.eq_ignore_ascii_case("deployments")
        || BEFORE_OPERATIONS
            .iter()
            .any(|name| before.eq_ignore_ascii_case(name))
}

/// `v1`, `v1beta`, `v2.0`.
fn is_version(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    matches!(bytes, [b'v' | b'V', b'0'..=b'9', ..])
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'.')
}

/// Whether a segment of the path is one of these names, with `-` or `_`. A slash may be encoded, and a segment may have
/// a suffix: some backends take `files;a=1` for `files`.
fn leads_into(names: &[&str], path: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let mut segment = path.as_bytes();
    loop {
        let word = segment.iter().position(|byte| !is_word(byte));
        let (name, rest) = segment.split_at(word.unwrap_or(segment.len()));
        if names.iter().any(|known| is_name(name, known.as_bytes())) {
            return true;
        }
        match behind_slash(rest) {
            Some(next) => segment = next,
            None => return false,
        }
    }
}

fn behind_slash(mut path: &[u8]) -> Option<&[u8]> {
    loop {
        path = match path {
            [] => return None,
            [b'/', next @ ..] | [b'%', b'2', b'f' | b'F', next @ ..] => return Some(next),
            [_, rest @ ..] => rest,
        };
    }
}

fn is_name(name: &[u8], known: &[u8]) -> bool {
    let plain = |byte: &u8| match byte {
        b'-' => b'_',
        byte => byte.to_ascii_lowercase(),
    };
    name.len() == known.len() && name.iter().map(plain).eq(known.iter().copied())
}

#[cfg(test)]
#[path = "cacheable_tests.rs"]
mod tests;
