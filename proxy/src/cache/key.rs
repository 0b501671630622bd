//! The key of an answer: everything that changes it, hashed.
//!
//! Every part goes in with its length before it, so that no two questions run together. What weir
//! or the connection consumes (signatures, trace context, the address and scheme that it came from)
//! stays out. The host goes in: it goes on as `X-Forwarded-Host`, and a backend may answer by it.

use http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};

use super::{Authorization, Key, Question, Scope};

/// Changes whenever the layout below does; a shared tier may hold keys of another version.
const DOMAIN: &[u8] = b"weir answer key, layout 2";

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
    part(&mut hasher, question.host);
    let present = keyed_among(question.headers);
    for (position, name) in (0u8..).zip(&KEYED_HEADERS) {
        if present & (1 << position) == 0
            || (is_api_key(name) && question.authorization == Authorization::Verified)
        {
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

/// What `bearer` takes, and keeps at the door.
fn is_api_key(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION || matches!(name.as_str(), "x-api-key" | "api-key")
}

/// Which of [`KEYED_HEADERS`] there are, a bit for each: a request has few, and most of them are none of
/// these, so looking for each would cost more.
fn keyed_among(headers: &HeaderMap) -> u16 {
    let positions = headers.keys().filter_map(|name| position(name.as_str()));
    positions.fold(0, |present, position| present | 1 << position)
}

/// The place of a name in [`KEYED_HEADERS`].
fn position(name: &str) -> Option<u8> {
    Some(match name {
        "accept" => 0,
        "accept-encoding" => 1,
        "accept-language" => 2,
        "content-type" => 3,
        "cookie" => 4,
        "origin" => 5,
        "anthropic-beta" => 6,
        "anthropic-version" => 7,
        "api-key" => 8,
        "openai-beta" => 9,
        "openai-organization" => 10,
        "openai-project" => 11,
        "x-api-key" => 12,
        "authorization" => 13,
        _ => return None,
    })
}

fn part(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyed_header_is_found_at_its_place() {
        for (place, name) in (0u8..).zip(&KEYED_HEADERS) {
            assert_eq!(position(name.as_str()), Some(place), "{name}");
        }
        assert_eq!(position("x-weir-key"), None);
    }
}
