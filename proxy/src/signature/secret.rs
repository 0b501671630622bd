//! Secrets: compared in constant time, never shown, erased from memory when dropped.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::SchemeError;

/// The SHA-256 of a secret: texts of any length are compared with it in constant time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HashedSecret([u8; 32]);

impl HashedSecret {
    pub(super) fn of(text: &[u8]) -> Self {
        HashedSecret(Sha256::digest(text).into())
    }

    /// From the SHA-256 of the text.
    pub(super) const fn from_digest(digest: [u8; 32]) -> Self {
        HashedSecret(digest)
    }

    /// Constant-time comparison.
    pub(super) fn matches(&self, other: &HashedSecret) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for HashedSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HashedSecret")
    }
}

/// The secrets that can match, each with its position in the file. An empty one (an environment variable
/// that is not set, during a rotation) never matches: everybody could sign with it.
pub(super) fn non_empty<'a>(
    secrets: &'a [SecretString],
    owner: &str,
) -> Result<Vec<(usize, &'a str)>, SchemeError> {
    let all = secrets.iter().map(ExposeSecret::expose_secret).enumerate();
    let non_empty: Vec<(usize, &str)> = all.filter(|(_, secret)| !secret.is_empty()).collect();
    if non_empty.is_empty() {
        return Err(SchemeError::NoSecret(owner.to_owned()));
    }
    Ok(non_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_never_matches_and_the_others_keep_their_position() {
        let secrets = |texts: &[&str]| -> Vec<SecretString> {
            texts.iter().map(|text| SecretString::from(*text)).collect()
        };
        let rotated = secrets(&["", "current", "", "previous"]);
        let found = non_empty(&rotated, "it").expect("two secrets");
        assert_eq!(found, [(1, "current"), (3, "previous")]);
        for none in [secrets(&[]), secrets(&["", ""])] {
            let error = non_empty(&none, "client \"web\"").expect_err("no secret");
            assert!(
                error
                    .to_string()
                    .starts_with("client \"web\" has no secret")
            );
        }
    }

    #[test]
    fn a_hashed_secret_shows_nothing() {
        assert_eq!(format!("{:?}", HashedSecret::of(b"s3cret")), "HashedSecret");
    }
}
