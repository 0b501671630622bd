//! Who remembers together: one memory against replay for all schemes, on whatever routes, that take one
//! of each other's secrets.
//!
//! A signature seldom covers the path, so a request that was signed for one route is good on every other
//! that knows its secret. Were each route to remember for itself, it could be sent once to each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Config;
use super::replay::{Shared, Store};

/// The memory of all routes of a configuration.
pub struct Memory {
    shared: Vec<Arc<Shared>>,
    /// By secret, the place of the memory.
    places: HashMap<Secret, usize>,
    /// By secret, whose ids are one.
    identities: HashMap<Secret, usize>,
}

/// Stands for a secret of a scheme.
type Secret = [u8; 32];

impl Memory {
    /// For all schemes of all routes.
    #[must_use]
    pub fn new<'c>(configs: impl IntoIterator<Item = &'c Config>) -> Self {
        let configs: Vec<&Config> = configs.into_iter().collect();
        let clients: Vec<Vec<Vec<Secret>>> = configs.iter().map(|config| secrets(config)).collect();
        let schemes: Vec<Vec<Secret>> = clients.iter().map(|clients| clients.concat()).collect();
        let joined = joined(&schemes);
        let mut windows: HashMap<usize, (Duration, usize)> = HashMap::new();
        for (config, group) in configs.iter().zip(&joined) {
            let (window, members) = windows.entry(*group).or_default();
            *window = config.replay.max(*window);
            *members += usize::from(!config.replay.is_zero());
        }
        let mut shared = Vec::with_capacity(windows.len());
        let mut place_of: HashMap<usize, usize> = HashMap::new();
        for (group, (window, members)) in windows {
            place_of.insert(group, shared.len());
            shared.push(Arc::new(Shared::new(window, members)));
        }
        let each = schemes.iter().zip(&joined);
        let places = each.flat_map(|(secrets, group)| {
            let place = place_of.get(group).copied().unwrap_or_default();
            secrets.iter().map(move |secret| (*secret, place))
        });
        Memory {
            places: places.collect(),
            identities: identities(&clients.concat()),
            shared,
        }
    }

    /// What the scheme of `config` remembers; `None` when it remembers nothing.
    pub(super) fn store(&self, config: &Config) -> Option<Store> {
        let first = secrets(config).into_iter().flatten().next()?;
        let shared = self.shared.get(*self.places.get(&first)?)?;
        Store::sharing(shared, config.replay)
    }

    /// One number for all clients that are joined by shared secrets, also over several steps and routes:
    /// the client's name is not signed, so each of them could send the other's request again.
    pub(super) fn identity(&self, scheme: &str, key: &[u8]) -> usize {
        let identity = self.identities.get(&secret(scheme, key));
        identity.copied().unwrap_or(usize::MAX)
    }

    /// How many ids were forgotten before their time because a memory was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.iter().map(|shared| shared.dropped()).sum()
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let memories = self.shared.len();
        formatter
            .debug_struct("Memory")
            .field("memories", &memories)
            .finish_non_exhaustive()
    }
}

/// A list for each client.
fn secrets(config: &Config) -> Vec<Vec<Secret>> {
    let name = config.scheme.name();
    let keys = config.keys().into_iter();
    keys.map(|keys| keys.iter().map(|key| secret(name, key)).collect())
        .collect()
}

fn secret(scheme: &str, key: &[u8]) -> Secret {
    let digest = Sha256::new().chain_update(scheme).chain_update([0]);
    digest.chain_update(key).finalize().into()
}

fn identities(clients: &[Vec<Secret>]) -> HashMap<Secret, usize> {
    let each = clients.iter().zip(joined(clients));
    each.flat_map(|(secrets, identity)| secrets.iter().map(move |secret| (*secret, identity)))
        .collect()
}

/// For each set the number of the first of those that it is joined with by shared members.
fn joined(sets: &[Vec<Secret>]) -> Vec<usize> {
    fn root(parents: &mut [usize], mut at: usize) -> usize {
        while parents[at] != at {
            parents[at] = parents[parents[at]];
            at = parents[at];
        }
        at
    }
    let mut parents: Vec<usize> = (0..sets.len()).collect();
    let mut first_holder: HashMap<&Secret, usize> = HashMap::new();
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

    #[test]
    fn sets_are_joined_by_what_they_share_over_any_number_of_steps() {
        let sets = |sets: &[&[u8]]| -> Vec<Vec<Secret>> {
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
