//! The key of a response: a hash of everything that may change it.
//!
//! Every part but the body, which is the last, is preceded by its length, so that the parts of two requests are
//! never confused. Headers that are forwarded as the client sent them are part of it, unless they are known to
//! change no response (`unkeyed.rs`) or the configuration ignores them; in the order of their names, the values of
//! one name in their own order. So is the host: it is forwarded as `X-Forwarded-Host`, and a backend may depend on
//! it.

use http::HeaderName;
use sha2::{Digest, Sha256};

use super::request_head::KeyedHeader;
use super::unkeyed::is_unkeyed;
use super::{CacheKey, CacheRequest, Scope};

/// Changes with the layout below: a shared tier may hold keys of another version.
const DOMAIN: &[u8] = b"weir key 4";

/// A prefix up to this size takes one allocation.
pub(super) const PREFIX_BYTES_USUAL: usize = 256;

/// The key of a request whose body has the canonical text `body`. The method is always `POST`.
pub(super) fn of(
    request: &CacheRequest<'_>,
    scope: Scope,
    headers: &[KeyedHeader<'_>],
    body: &[u8],
) -> CacheKey {
    let mut prefix = KeyPrefix::of_scope(DOMAIN, scope, request.client);
    prefix.add(request.path.as_bytes());
    prefix.add(request.query.as_bytes());
    prefix.add(request.host);
    for header in headers {
        // One part for each value: none, an empty one and several are different.
        match header {
            KeyedHeader::JsonType => prefix.0.push(2),
            KeyedHeader::Field(name, value) => {
                prefix.0.push(1);
                prefix.add(name.as_bytes());
                prefix.add(value);
            }
        }
    }
    prefix.0.push(0);
    let hash = Sha256::new().chain_update(&prefix.0).chain_update(body);
    CacheKey(hash.finalize().into())
}

/// What is hashed before the body, in one buffer: hashing it in parts would take longer.
pub(super) struct KeyPrefix(pub(super) Vec<u8>);

impl KeyPrefix {
    /// The kind of the key, and those who share what is stored under it.
    #[inline]
    pub(super) fn of_scope(domain: &[u8], scope: Scope, client: &str) -> Self {
        let mut prefix = KeyPrefix(Vec::with_capacity(PREFIX_BYTES_USUAL));
        prefix.0.extend_from_slice(domain);
        match scope {
            Scope::Route => prefix.0.push(0),
            Scope::Client => {
                prefix.0.push(1);
                prefix.add(client.as_bytes());
            }
        }
        prefix
    }

    /// Adds a part with its length before it. No part of a request head has 4 GiB.
    #[inline]
    pub(super) fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u32).to_le_bytes());
        self.0.extend_from_slice(part);
    }
}

/// Whether a header that `Vary` names is part of the key.
pub(super) fn is_keyed(name: &HeaderName, scope: Scope, ignored: &[HeaderName]) -> bool {
    match name.as_str() {
        // Equal for all who share a response, in the key elsewhere, or handled when a response is served; whatever the
        // configuration ignores.
        "accept-encoding" | "host" | "x-forwarded-host" | "x-weir-platform" => true,
        "x-weir-client" => scope == Scope::Client,
        other => !is_unkeyed(other) && !ignored.contains(name),
    }
}
