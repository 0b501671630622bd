//! The key of an answer: everything that can change it, hashed.
//!
//! Every part but the body, which is the last, goes in with its length before it, so that no two questions run
//! together. Of the headers go
//! in all that reach the backend under the client's own words, but those that are known to change nothing
//! (`harmless.rs`) or that the configuration says so of. They are in the order of their names; the values of
//! one name are in their own. The host goes in: it goes on as `X-Forwarded-Host`, and a backend may answer
//! by it.

use http::HeaderName;
use sha2::{Digest, Sha256};

use super::harmless::is_harmless;
use super::request_head::Keyed;
use super::{Key, Question, Scope};

/// Changes whenever the layout below does; a shared tier may hold keys of another version.
const DOMAIN: &[u8] = b"weir key 4";

/// A head up to this size costs one allocation.
const HEAD_BYTES_USUAL: usize = 256;

/// The key of a question whose body has the canonical text `body`. All of them are asked with `POST`.
pub(super) fn of(question: &Question<'_>, scope: Scope, headers: &[Keyed<'_>], body: &[u8]) -> Key {
    let mut head = Head(Vec::with_capacity(HEAD_BYTES_USUAL));
    head.0.extend_from_slice(DOMAIN);
    match scope {
        Scope::Route => head.0.push(0),
        Scope::Client => {
            head.0.push(1);
            head.add(question.client.as_bytes());
        }
    }
    head.add(question.path.as_bytes());
    head.add(question.query.as_bytes());
    head.add(question.host);
    for header in headers {
        // One part a value: absent, empty and several are all different.
        match header {
            Keyed::JsonType => head.0.push(2),
            Keyed::Field(name, value) => {
                head.0.push(1);
                head.add(name.as_bytes());
                head.add(value);
            }
        }
    }
    head.0.push(0);
    let hash = Sha256::new().chain_update(&head.0).chain_update(body);
    Key(hash.finalize().into())
}

/// What goes into the hash before the body, put together first: hashing it piece by piece takes longer.
struct Head(Vec<u8>);

impl Head {
    /// Adds a part, with its length before it. Nothing in the head of a request is 4 GiB long.
    #[inline]
    fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u32).to_le_bytes());
        self.0.extend_from_slice(part);
    }
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
