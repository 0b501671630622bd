//! What the stores of a process have seen, for its successor: otherwise every request could be replayed once after an
//! upgrade.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{SecretFingerprint, SharedStores};
use crate::signature::replay::{Namespace, ReplayKey, SeenRequests};
use crate::signature::store::InProcess;

/// An entry: when it was seen, in Unix seconds, and its key.
const ENTRY_BYTES: usize = size_of::<u64>() + ReplayKey::BYTES;

/// The content of all stores. Secrets are not in it, only their fingerprints.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SeenElsewhere {
    stores: Vec<SeenStore>,
    namespaces: Vec<(SecretFingerprint, Namespace)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SeenStore {
    secrets: Vec<SecretFingerprint>,
    window_s: u64,
    entries_max: usize,
    /// Base64: JSON has no bytes.
    entries: String,
}

impl SharedStores {
    /// What was seen since this time, in Unix seconds.
    #[must_use]
    pub fn seen_since(&self, since_s: u64) -> SeenElsewhere {
        let stores = self.shared.iter().enumerate().map(|(position, store)| {
            let of_store = self.positions.iter().filter(|(_, at)| **at == position);
            let (window_s, entries_max) = store.seen().bounds();
            SeenStore {
                secrets: of_store.map(|(secret, _)| *secret).collect(),
                window_s,
                entries_max,
                entries: encoded(&store.seen().seen_since(since_s)),
            }
        });
        SeenElsewhere {
            stores: stores.collect(),
            namespaces: self
                .namespaces
                .iter()
                .map(|(secret, of)| (*secret, *of))
                .collect(),
        }
    }

    /// Notes what another process has seen in the meantime, for every scheme with one of its secrets.
    pub fn note_seen(&self, seen: &SeenElsewhere) {
        for theirs in &seen.stores {
            let entries = decoded(&theirs.entries);
            if entries.is_empty() {
                continue;
            }
            for store in self.stores_of(&theirs.secrets) {
                store.seen().insert_seen(&entries);
            }
        }
    }
}

impl SeenElsewhere {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stores.iter().all(|store| store.entries.is_empty())
    }

    /// The stores as the other process has them: those of this one follow them.
    #[must_use]
    pub fn stores(&self) -> SharedStores {
        let mut positions = HashMap::new();
        let stores = self.stores.iter().enumerate().map(|(position, store)| {
            positions.extend(store.secrets.iter().map(|secret| (*secret, position)));
            let window = Duration::from_secs(store.window_s);
            let seen = SeenRequests::with_entries_max(window, store.entries_max);
            seen.insert_seen(&decoded(&store.entries));
            InProcess::new(seen)
        });
        SharedStores {
            shared: stores.collect(),
            dropped_before: 0,
            positions,
            namespaces: self.namespaces.iter().copied().collect(),
        }
    }
}

fn encoded(seen: &[(u64, ReplayKey)]) -> String {
    let mut bytes = Vec::with_capacity(seen.len() * ENTRY_BYTES);
    for (seen_s, key) in seen {
        bytes.extend_from_slice(&seen_s.to_be_bytes());
        bytes.extend_from_slice(key.as_bytes());
    }
    STANDARD.encode(bytes)
}

/// What cannot be read is left out: the peer has another version.
fn decoded(text: &str) -> Vec<(u64, ReplayKey)> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let entries = bytes.chunks_exact(ENTRY_BYTES);
    let entries = entries.filter_map(|entry| {
        let (seen_s, key) = entry.split_first_chunk()?;
        let key = ReplayKey::from_bytes(key.try_into().ok()?);
        Some((u64::from_be_bytes(*seen_s), key))
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::replay::Seen;

    const NOW: Duration = Duration::from_secs(1_795_334_400);

    #[test]
    fn what_one_process_has_seen_is_seen_in_the_next() {
        let key = |number: u8| ReplayKey::of(&[&[number]]);
        let seen = SeenRequests::with_entries_max(Duration::from_secs(60), 1000);
        (0..100)
            .for_each(|number| seen.insert(key(number), NOW + Duration::from_secs(number.into())));
        let stores = |store| SharedStores {
            shared: vec![InProcess::new(store)],
            positions: HashMap::from([([1; 32], 0), ([2; 32], 0)]),
            namespaces: HashMap::from([([1; 32], [7; 16])]),
            ..SharedStores::new([])
        };
        let old = stores(seen);
        let text = serde_json::to_string(&old.seen_since(0)).expect("JSON");
        let handed: SeenElsewhere = serde_json::from_str(&text).expect("what was seen");
        let new = handed.stores();
        assert_eq!(new.namespaces, old.namespaces);
        let now = NOW + Duration::from_secs(100);
        let checked = |stores: &SharedStores, number| {
            let store = stores.stores_of(&[[2; 32]]).pop().expect("a store");
            store.seen().check_and_insert(key(number), now, 60)
        };
        assert_eq!(checked(&new, 99), Seen::Before);
        assert_eq!(checked(&new, 40), Seen::Before);
        assert_eq!(checked(&new, 39), Seen::First, "its window is over");
        assert_eq!(checked(&new, 100), Seen::First);
        // Afterwards only the rest is passed on.
        checked(&old, 101);
        let rest = old.seen_since(now.as_secs());
        assert!(serde_json::to_string(&rest).expect("JSON").len() < text.len() / 2);
        new.note_seen(&rest);
        assert_eq!(checked(&new, 101), Seen::Before);
    }
}
