//! The key of an answer: everything that changes it, hashed.
//!
//! Every part goes in with its length before it, so that no two questions run together. What weir
//! or the connection consumes (signatures, trace context, forwarding headers) stays out.

use http::{HeaderName, header};
use sha2::{Digest, Sha256};

use super::{Authorization, Key, Question, Scope};

/// Changes whenever the layout below does; a shared tier may hold keys of another version.
const DOMAIN: &[u8] = b"weir answer key, layout 1";

/// The request headers that change an answer. An answer whose `Vary` names another is not kept.
pub(super) static KEYED_HEADERS: [HeaderName; 14] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::ORIGIN,
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("x-api-key"),
    header::AUTHORIZATION,
];

/// The key of a question whose body has the canonical text `body`.
pub(super) fn of(question: &Question<'_>, scope: Scope, body: &[u8]) -> Key {
    let mut hasher = Sha256::new();
    part(&mut hasher, DOMAIN);
    match scope {
        Scope::Route => hasher.update([0]),
        Scope::Client => {
            hasher.update([1]);
            part(&mut hasher, question.client.as_bytes());
        }
    }
    part(&mut hasher, question.method.as_str().as_bytes());
    part(&mut hasher, question.path.as_bytes());
    part(&mut hasher, question.query.as_bytes());
    for (position, name) in (0u8..).zip(&KEYED_HEADERS) {
        if name == header::AUTHORIZATION && question.authorization == Authorization::Verified {
            continue;
        }
        // One part a value: absent, empty and several are all different.
        for value in question.headers.get_all(name) {
            hasher.update([position]);
            part(&mut hasher, value.as_bytes());
        }
    }
    hasher.update([u8::MAX]);
    part(&mut hasher, body);
    Key(hasher.finalize().into())
}

fn part(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
