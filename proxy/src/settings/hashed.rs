//! Hashes of secrets, for comparing a configuration with the one that replaces it.

use std::sync::LazyLock;

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

/// A hash of a secret under a random key of this process. It shows whether a secret changed and cannot be reversed
/// by guessing without the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecretHash([u8; 32]);

static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| rand::rng().random());

impl SecretHash {
    pub(crate) fn of(text: &str) -> Self {
        let hash = Sha256::new().chain_update(*KEY).chain_update(text);
        SecretHash(hash.finalize().into())
    }
}
