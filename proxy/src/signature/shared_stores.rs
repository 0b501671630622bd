//! Which routes share a replay store: one store for all schemes, on all routes, that share secrets.
//!
//! A signature seldom covers the path, so a request that was signed for one route is valid on every other route with
//! its secret. With a store per route it could be replayed once on each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Config;
use super::demand::Demand;
use super::replay::{Namespace, SeenRequests};
use super::secret::HashedSecret;
use super::store::{InProcess, ReplayStore};

/// The replay stores of all routes of a configuration.
pub struct SharedStores {
    shared: Vec<Arc<InProcess>>,
    /// How many ids the stores of earlier generations dropped that are not in use any more.
    dropped_before: u64,
    /// By secret, the position of the store.
    positions: HashMap<SecretFingerprint, usize>,
    /// By secret, the namespace of its ids.
    namespaces: HashMap<SecretFingerprint, Namespace>,
}

mod handover;

pub use handover::SeenElsewhere;

/// Identifies a secret of a scheme.
type SecretFingerprint = [u8; 32];

impl SharedStores {
    /// For all schemes of all routes.
    #[must_use]
    pub fn new<'c>(configs: impl IntoIterator<Item = &'c Config>) -> Self {
        SharedStores::build(configs, None)
    }

    /// For the schemes of the configuration that follows this one. What was seen stays seen for every scheme
    /// that keeps one of its secrets.
    #[must_use]
    pub fn next<'c>(&self, configs: impl IntoIterator<Item = &'c Config>) -> Self {
        SharedStores::build(configs, Some(self))
    }

    fn build<'c>(
        configs: impl IntoIterator<Item = &'c Config>,
        previous: Option<&SharedStores>,
    ) -> Self {
        let demands: Vec<&Demand> = configs.into_iter().map(|config| &config.demand).collect();
        let clients: Vec<Vec<Vec<SecretFingerprint>>> =
            demands.iter().map(|demand| secrets(demand)).collect();
        let schemes: Vec<Vec<SecretFingerprint>> =
            clients.iter().map(|clients| clients.concat()).collect();
        let joined = joined(&schemes);
        let mut bounds: BTreeMap<usize, (Duration, usize)> = BTreeMap::new();
        for (demand, group) in demands.iter().zip(&joined) {
            let (window, members) = bounds.entry(*group).or_default();
            *window = demand.replay.max(*window);
            *members += usize::from(!demand.replay.is_zero());
        }
        let mut shared = Vec::with_capacity(bounds.len());
        let mut positions = HashMap::new();
        for (group, (window, members)) in bounds {
            let schemes = schemes.iter().zip(&joined).filter(|(_, of)| **of == group);
            let secrets: Vec<SecretFingerprint> =
                schemes.flat_map(|(secrets, _)| secrets.clone()).collect();
            let known = previous.map_or_else(Vec::new, |previous| previous.stores_of(&secrets));
            let position = shared.len();
            positions.extend(secrets.into_iter().map(|secret| (secret, position)));
            shared.push(match known.split_first() {
                Some((first, others)) => first.following(others, window, members),
                None => InProcess::new(SeenRequests::new(window, members)),
            });
        }
        let dropped_before = previous.map_or(0, SharedStores::dropped);
        SharedStores {
            dropped_before: dropped_before.saturating_sub(dropped_by(&shared)),
            positions,
            namespaces: namespaces(&clients.concat(), previous),
            shared,
        }
    }

    /// The stores of these secrets, each once.
    fn stores_of(&self, secrets: &[SecretFingerprint]) -> Vec<Arc<InProcess>> {
        let positions = secrets
            .iter()
            .filter_map(|secret| self.positions.get(secret));
        let positions: BTreeSet<usize> = positions.copied().collect();
        let stores = positions
            .into_iter()
            .filter_map(|position| self.shared.get(position));
        stores.cloned().collect()
    }

    /// The store of the scheme of `demand`; `None` without replay protection.
    pub(super) fn of(&self, demand: &Demand) -> Option<ReplayStore> {
        let first = secrets(demand).into_iter().flatten().next()?;
        let shared = self.shared.get(*self.positions.get(&first)?)?;
        ReplayStore::in_process(shared, demand.replay)
    }

    /// For each client of `demand` the namespace of its ids: one for all clients that are joined by shared
    /// secrets, also indirectly and across routes. The client's name is not signed, so each of them could
    /// replay a request of the other.
    pub(super) fn namespaces(&self, demand: &Demand) -> Box<[Namespace]> {
        let of_client = |secrets: Vec<SecretFingerprint>| {
            let namespace = secrets.first().and_then(|first| self.namespaces.get(first));
            namespace.copied().unwrap_or_default()
        };
        secrets(demand).into_iter().map(of_client).collect()
    }

    /// How many ids were evicted before they expired because a store was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped_before + dropped_by(&self.shared)
    }
}

impl std::fmt::Debug for SharedStores {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stores = self.shared.len();
        formatter
            .debug_struct("SharedStores")
            .field("stores", &stores)
            .finish_non_exhaustive()
    }
}

/// Each store once: after a swap of generations two groups may have the same one.
fn dropped_by(stores: &[Arc<InProcess>]) -> u64 {
    let mut each: Vec<&Arc<InProcess>> = stores.iter().collect();
    each.sort_by_key(|store| Arc::as_ptr(store));
    each.dedup_by_key(|store| Arc::as_ptr(store));
    each.into_iter().map(|store| store.dropped()).sum()
}

/// A list for each client.
fn secrets(demand: &Demand) -> Vec<Vec<SecretFingerprint>> {
    let clients = demand.clients.iter();
    clients
        .map(|client| {
            let keys = client.keys.iter();
            keys.map(|(_, key)| secret(demand.scheme, key)).collect()
        })
        .collect()
}

fn secret(scheme: &str, key: &HashedSecret) -> SecretFingerprint {
    let digest = Sha256::new().chain_update(scheme).chain_update([0]);
    digest.chain_update(key.as_bytes()).finalize().into()
}

/// Derived from the secrets, so that replicas with the same configuration agree. A client that keeps
/// one of its secrets keeps its namespace.
fn namespaces(
    clients: &[Vec<SecretFingerprint>],
    previous: Option<&SharedStores>,
) -> HashMap<SecretFingerprint, Namespace> {
    let of_secret = |secret: &SecretFingerprint| {
        let mut namespace = Namespace::default();
        namespace.copy_from_slice(&secret[..size_of::<Namespace>()]);
        namespace
    };
    let groups = joined(clients);
    let mut found: HashMap<usize, (bool, Namespace)> = HashMap::new();
    for (secrets, group) in clients.iter().zip(&groups) {
        for secret in secrets {
            let known = previous.and_then(|previous| previous.namespaces.get(secret));
            // Known ones take precedence, and of several the smallest.
            let candidate = match known {
                Some(known) => (false, *known),
                None => (true, of_secret(secret)),
            };
            let namespace = found.entry(*group).or_insert(candidate);
            *namespace = candidate.min(*namespace);
        }
    }
    let each = clients.iter().zip(groups);
    each.flat_map(|(secrets, group)| {
        let (_, namespace) = found.get(&group).copied().unwrap_or_default();
        secrets.iter().map(move |secret| (*secret, namespace))
    })
    .collect()
}

/// For each set the number of the first of those that it is joined with by shared members.
fn joined(sets: &[Vec<SecretFingerprint>]) -> Vec<usize> {
    fn root(parents: &mut [usize], mut at: usize) -> usize {
        while parents[at] != at {
            parents[at] = parents[parents[at]];
            at = parents[at];
        }
        at
    }
    let mut parents: Vec<usize> = (0..sets.len()).collect();
    let mut first_holder: HashMap<&SecretFingerprint, usize> = HashMap::new();
    for (at, secrets) in sets.iter().enumerate() {
        for secret in secrets {
            let holder = *first_holder.entry(secret).or_insert(at);
            let (one, other) = (root(&mut parents, at), root(&mut parents, holder));
            parents[one.max(other)] = one.min(other);
        }
    }
    (0..sets.len()).map(|at| root(&mut parents, at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::replay::ReplayKey;

    #[test]
    fn what_a_store_dropped_stays_counted_when_its_secrets_are_gone() {
        let full = SeenRequests::with_entries_max(Duration::from_secs(60), 1);
        for number in 0..100_u8 {
            full.insert(ReplayKey::of(&[&[number]]), Duration::from_secs(1));
        }
        let dropped = full.dropped();
        assert!(dropped > 0);
        let store = InProcess::new(full);
        let stores = SharedStores {
            shared: vec![store.clone(), store],
            ..SharedStores::new([])
        };
        assert_eq!(stores.dropped(), dropped, "one store, counted once");
        assert_eq!(stores.next([]).next([]).dropped(), dropped);
    }

    #[test]
    fn sets_are_joined_by_what_they_share_over_any_number_of_steps() {
        let sets = |sets: &[&[u8]]| -> Vec<Vec<SecretFingerprint>> {
            let each = sets.iter();
            each.map(|set| set.iter().map(|member| [*member; 32]).collect())
                .collect()
        };
        assert_eq!(joined(&sets(&[])), Vec::<usize>::new());
        assert_eq!(joined(&sets(&[b"a", b"b", b"a", b""])), [0, 1, 0, 3]);
        assert_eq!(
            joined(&sets(&[b"a", b"b", b"cb", b"ac", b"d"])),
            [0, 0, 0, 0, 4]
        );
        assert_eq!(joined(&sets(&[b"ab", b"bc", b"cd", b"de"])), [0, 0, 0, 0]);
        assert_eq!(joined(&sets(&[b"d", b"c", b"b", b"a", b"abcd"])), [0; 5]);
    }
}
