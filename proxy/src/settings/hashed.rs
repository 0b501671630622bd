//! Hashes of secrets, for comparing a configuration, and the files that it is read from, with what replaces them.

use std::sync::LazyLock;

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};

/// A hash of a secret under a random key of this process. It shows whether a secret changed and cannot be reversed
/// by guessing without the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecretHash([u8; 32]);

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretHash")
    }
}

static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| rand::rng().random());

impl SecretHash {
    pub(crate) fn of(text: &str) -> Self {
        SecretHash::of_bytes(text.as_bytes())
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(*KEY).chain_update(bytes);
        SecretHash(hash.finalize().into())
    }
}
