//! The key of a URI: a hash of what names a resource, for those who share its responses.
//!
//! Each part is preceded by its length, so that the parts of two requests are never confused. The host and the scheme
//! are those that the backend gets as `X-Forwarded-Host` and `X-Forwarded-Proto`: a backend that builds links from
//! them cannot be made to poison what others get (web cache poisoning). `GET` and `HEAD` share a key.

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::super::key::{KeyPrefix, PREFIX_BYTES_USUAL};
use super::super::{CacheKey, Scope};
use super::policy::RequestCredentials;
use super::request::Overrides;
use super::vary::Variant;

const DOMAIN: &[u8] = b"weir http key 1";

/// What names a stored resource.
#[derive(Clone, Copy, Debug)]
pub struct ResourceName<'a> {
    /// The scheme between client and weir.
    pub scheme: &'a str,
    /// As the client named it; empty if it did not.
    pub host: &'a [u8],
    /// The canonical path.
    pub path: &'a str,
    pub query: &'a str,
    /// The verified client, or else its address.
    pub client: &'a str,
}

pub(super) fn of(name: &ResourceName<'_>, scope: Scope, overrides: &Overrides<'_>) -> CacheKey {
    let mut text = KeyPrefix::of_scope(DOMAIN, scope, name.client);
    text.add(name.scheme.as_bytes());
    // Hosts have no case (RFC 9110, section 4.2.3).
    let host = text.0.len() + 4;
    text.add(name.host);
    text.0[host..].make_ascii_lowercase();
    text.add(name.path.as_bytes());
    text.add(name.query.as_bytes());
    for (name, value) in overrides {
        text.add(name.as_str().as_bytes());
        text.add(value.as_bytes());
    }
    CacheKey(Sha256::digest(&text.0).into())
}

/// The key of equal requests in flight: those with one resource, of the same kind of credentials, that select the same
/// response as far as is known.
pub(super) fn of_flight(
    resource: &CacheKey,
    credentials: RequestCredentials,
    known: Option<&Variant>,
    request: &HeaderMap,
) -> CacheKey {
    let mut text = KeyPrefix(Vec::with_capacity(PREFIX_BYTES_USUAL));
    text.0.extend_from_slice(&resource.0);
    text.0.push(credentials as u8);
    if let Some(variant) = known {
        variant.for_each_value(request, |value| text.add(value));
    }
    CacheKey(Sha256::digest(&text.0).into())
}
