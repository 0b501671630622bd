//! What a scheme demands of a request, as data: compared between routes, for one generation of the
//! configuration with the next, and for replay protection across routes.

use std::sync::Arc;
use std::time::Duration;

use super::secret::HashedSecret;

/// What one entry of `signature` demands. Equal demands make equal verdicts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) scheme: &'static str,
    /// The largest allowed difference between a timestamp and the current time.
    pub(crate) tolerance: Duration,
    /// How long an id or signature is stored; zero: not at all.
    pub(crate) replay: Duration,
    pub(crate) coverage: Coverage,
    /// Settings of the scheme that are not secret, as text.
    pub(crate) settings: String,
    /// A secret that a request has to contain in addition to the keys.
    pub(crate) token: Option<HashedSecret>,
    /// One that is named after the route where the scheme has no named clients.
    pub(crate) clients: Vec<ClientKeys>,
}

/// A client, and the keys that any of its requests may be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientKeys {
    pub(crate) name: Arc<str>,
    /// With their positions in the file. Empty secrets are left out: they cannot sign.
    pub(crate) keys: Vec<(usize, HashedSecret)>,
}

/// What an observer of one request can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coverage {
    /// Send another body: only a key is proven.
    KeyAlone,
    /// Nothing: the signature covers the body.
    Body,
}

impl Demand {
    /// Whether `ours`, the demands of one route, are stricter than `theirs`: they require a signature where
    /// `theirs` may not; one over the body where a key alone suffices; else they reject a key that `theirs` accept, or
    /// accept the same one for a shorter time or store it for longer. A client chooses among the schemes of a route, so
    /// the weakest of them counts.
    pub(super) fn is_stricter(ours: &[&Demand], theirs: &[&Demand]) -> bool {
        let (Some(our_weakest), Some(their_weakest)) = (weakest(ours), weakest(theirs)) else {
            return theirs.is_empty() && !ours.is_empty();
        };
        if our_weakest != their_weakest {
            return our_weakest > their_weakest;
        }
        let is_admitted = |their: &&Demand| ours.iter().any(|our| our.admits_all_of(their));
        !theirs.iter().all(is_admitted)
    }

    /// Whether this admits every request that `other` admits.
    fn admits_all_of(&self, other: &Demand) -> bool {
        self.scheme == other.scheme
            && self.settings == other.settings
            && self.token == other.token
            && self.tolerance >= other.tolerance
            && self.replay <= other.replay
            && other.keys().all(|key| self.keys().any(|ours| ours == key))
    }

    fn keys(&self) -> impl Iterator<Item = &HashedSecret> {
        let clients = self.clients.iter();
        clients.flat_map(|client| client.keys.iter().map(|(_, key)| key))
    }
}

fn weakest(demands: &[&Demand]) -> Option<Coverage> {
    demands.iter().map(|demand| demand.coverage).min()
}

// Hashes of secrets must not reach a log either.
impl std::fmt::Debug for Demand {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clients: Vec<_> = self.clients.iter().map(|client| &*client.name).collect();
        formatter
            .debug_struct("Demand")
            .field("scheme", &self.scheme)
            .field("tolerance", &self.tolerance)
            .field("replay", &self.replay)
            .field("coverage", &self.coverage)
            .field("settings", &self.settings)
            .field("clients", &clients)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "demand_tests.rs"]
mod tests;
