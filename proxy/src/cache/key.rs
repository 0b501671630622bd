//! The key of an answer: everything that can change it, hashed.
//!
//! Every part goes in with its length before it, so that no two questions run together. Of the headers go
//! in all that reach the backend under the client's own words, but those that are known to change nothing
//! (`harmless.rs`) or that the configuration says so of. They are in the order of their names; the values of
//! one name are in their own. The host goes in: it goes on as `X-Forwarded-Host`, and a backend may answer
//! by it.

use http::{HeaderName, header};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::harmless::is_harmless;
use super::media::{self, Wanted};
use super::{Key, Question, Scope};

/// Changes whenever the layout below does; a shared tier may hold keys of another version.
const DOMAIN: &[u8] = b"weir answer key, layout 3";

/// So many headers that count cost no allocation.
const HEADERS_USUAL: usize = 16;

/// Headers that count, each a name and a value.
type Headers<'a> = SmallVec<[(&'a str, &'a [u8]); HEADERS_USUAL]>;

/// The key of a question whose body has the canonical text `body`.
pub(super) fn of(
    question: &Question<'_>,
    scope: Scope,
    ignored: &[HeaderName],
    body: &[u8],
) -> Key {
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
    for (name, value) in counted(question, ignored) {
        // One part a value: absent, empty and several are all different.
        hasher.update([1]);
        part(&mut hasher, name.as_bytes());
        part(&mut hasher, value);
    }
    hasher.update([0]);
    part(&mut hasher, body);
    Key(hasher.finalize().into())
}

fn counted<'a>(question: &Question<'a>, ignored: &[HeaderName]) -> Headers<'a> {
    let headers = question.headers;
    let mut counted = Headers::new();
    for (name, value) in headers {
        let text = name.as_str();
        if is_harmless(text) || ignored.contains(name) || !(question.goes_on)(name) {
            continue;
        }
        let value = match *name {
            header::ACCEPT => match Wanted::of(headers.get_all(name)).text() {
                // As if nothing had been said.
                Some(b"") => continue,
                Some(text) => text,
                None => value.as_bytes(),
            },
            header::CONTENT_TYPE if media::is_json(value) => media::JSON_TEXT,
            _ => value.as_bytes(),
        };
        counted.push((text, value));
    }
    // Values of one name stay in their order.
    counted.sort_by_key(|(name, _)| *name);
    counted
}

/// Whether a header named by `Vary` is in the key, where it stands in a request.
pub(super) fn is_counted(name: &HeaderName, scope: Scope, ignored: &[HeaderName]) -> bool {
    !ignored.contains(name)
        && match name.as_str() {
            // The same for all who share an answer, in the key in another place, or settled when an
            // answer is served.
            "accept-encoding" | "host" | "x-forwarded-host" | "x-weir-platform" => true,
            "x-weir-client" => scope == Scope::Client,
            other => !is_harmless(other),
        }
}

fn part(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
