//! The signature stage: whether a request is authentic, fresh and not a replay. A platform's handshake gets
//! its response here.
//!
//! It verifies the raw bytes of the body and never changes them. No request is forwarded before its verdict.
//!
//! One file per scheme, with one descriptor (`scheme`) and one line in the list (`schemes`); each of them must
//! pass the same table (`scheme_tests`). A scheme only verifies, in constant time; what identifies a request
//! is kept for replay protection (`store`) by the gateway. A rejection leaks nothing: an invalid signature, an unknown
//! client and an invalid secret have the same response, and a timestamp is checked only when its signature is valid.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method};

use self::demand::Demand;
use self::scheme::{Descriptor, Scheme};
use self::secret::HashedSecret;

mod credentials;
mod demand;
pub mod error;
mod headers;
mod keys;
mod planned;
mod rejection;
mod scheme;
mod schemes;
mod secret;

mod bearer;
mod feishu;
mod hmac;
mod simple_sha256;

pub mod delivery;
pub(crate) mod entry;
mod replay;
pub mod shared_stores;
mod store;
mod verdict;
mod verifier;

pub use scheme::PlatformResponse;
pub use verdict::SignatureVerdict;
pub use verifier::{CheckedRequest, Verifier};

pub mod client_signer;
pub mod sign;

#[cfg(test)]
mod scheme_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vector_tests;
#[cfg(test)]
mod verifier_tests;

/// One entry of `signature`, checked, and its scheme, built once.
#[derive(Clone)]
pub struct Config {
    descriptor: &'static Descriptor,
    scheme: Arc<dyn Scheme>,
    /// Everything that the scheme was built from.
    demand: Demand,
}

impl Config {
    /// The scheme's name in configurations, events and metrics.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.descriptor.name
    }

    /// The platform that signs with it; `None` for schemes of clients.
    #[must_use]
    pub fn platform(&self) -> Option<&'static str> {
        self.descriptor.platform
    }

    /// The largest allowed difference between a timestamp and the current time.
    #[must_use]
    pub fn tolerance(&self) -> Duration {
        self.demand.tolerance
    }

    /// How long an id or signature is remembered; zero: not at all.
    #[must_use]
    pub fn replay(&self) -> Duration {
        self.demand.replay
    }

    /// The names that a verified client can have.
    pub fn client_names(&self) -> impl Iterator<Item = &str> {
        self.demand.clients.iter().map(|client| &*client.name)
    }

    /// Headers that are no part of a cache key once this scheme has verified them.
    pub(crate) fn unkeyed_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let scheme = &self.scheme;
        scheme
            .stripped_headers()
            .iter()
            .chain(scheme.verified_headers())
    }

    /// The first two clients among the entries of one route that have a secret in common.
    #[must_use]
    pub fn shared_secret(entries: &[Config]) -> Option<(&str, &str)> {
        let mut owners: HashMap<&HashedSecret, &str> = HashMap::new();
        let clients = entries.iter().flat_map(|entry| &entry.demand.clients);
        for client in clients {
            for (_, key) in &client.keys {
                let owner = *owners.entry(key).or_insert(&client.name);
                if owner != &*client.name {
                    return Some((owner, &client.name));
                }
            }
        }
        None
    }

    /// Whether `ours`, the entries of one route, require more than `theirs`.
    #[must_use]
    pub fn is_stricter(ours: &[Config], theirs: &[Config]) -> bool {
        let ours: Vec<&Demand> = ours.iter().map(|entry| &entry.demand).collect();
        let theirs: Vec<&Demand> = theirs.iter().map(|entry| &entry.demand).collect();
        Demand::is_stricter(&ours, &theirs)
    }
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.demand == other.demand
    }
}

impl Eq for Config {}

// Secrets must not reach a log through `{:?}`.
impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_tuple("signature::Config");
        shown.field(&self.demand).finish()
    }
}

/// The parts of a request that a scheme verifies.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// The raw query, without the question mark.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// The raw bytes.
    pub body: &'a [u8],
}
