//! Which questions may be answered by what was answered before.
//!
//! Only those whose answer comes from the question alone. A call that makes or changes an object (a file,
//! a batch, a thread, an image), or that goes on from what the backend remembers, is asked each time: its
//! answer is the number of a thing, and two askers want two things.

use crate::model::operation::Operation;

/// How a route came to this path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The configuration names this very path: whoever switched its cache on knows what is asked there.
    Exactly,
    /// It lies under a wildcard, with whatever else lies there.
    ByWildcard,
}

/// Collections whose members come and go by calls, in OpenAI's, Anthropic's and Gemini's APIs. A path
/// through one of them asks for such a call.
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

/// What makes a call to any operation one that is answered later.
const LATER: [&str; 6] = ["async", "batch", "batches", "files", "queue", "threads"];

/// What may stand before `messages` and `responses` where they are the operations of these names, beside a
/// version and a deployment.
const BEFORE_OPERATIONS: [&str; 6] = ["anthropic", "api", "azure", "claude", "codex", "openai"];

/// Whether a question at this path can have been answered before, whatever its body says. Under a wildcard
/// only what is known to be a question is one.
pub(super) fn is_question(path: &str, operation: Option<Operation>, named: Named) -> bool {
    match (operation, named) {
        (Some(operation), _) if operation.creates() => false,
        // Nothing else ends like this, and what stands before it is anybody's own (`/assistants/v1/...`,
        // a deployment called `images`).
        (Some(Operation::Chat), _) => !leads_into(&LATER, path),
        (Some(Operation::Messages | Operation::Responses), Named::ByWildcard)
            if !is_operation_itself(path) =>
        {
            false
        }
        (Some(_), _) | (None, Named::Exactly) => {
            !leads_into(&COLLECTIONS, path) && !leads_into(&LATER, path)
        }
        (None, Named::ByWildcard) => false,
    }
}

/// Whether a path that ends with `messages` or `responses` ends with the operation, and not with the messages
/// of a session or the responses of an agent.
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
        // A method of Google's, behind the name of a model.
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

/// Whether a segment of the path is one of these names, however it writes what joins words. A slash may be
/// encoded, and a segment have more behind its name: there are backends that take `files;a=1` for `files`.
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
#[path = "stateful_tests.rs"]
mod tests;
