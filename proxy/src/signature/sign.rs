//! Signing requests like a client: `weir sign`, the demo's banner, and tests.
//!
//! Each scheme signs and verifies in one file; the tests compare both with fixed vectors and with values of other
//! implementations, so that an error in both cannot go unnoticed.

use super::credentials::{SignedHeaders, ToSign};
use super::error::SignError;
use super::schemes;

/// The names of the schemes that this version signs and verifies.
pub fn schemes() -> impl Iterator<Item = &'static str> {
    schemes::built().map(|descriptor| descriptor.name)
}

/// The headers of a request with `body`, signed with `secret` at `at_unix_s`. `id` is the request's
/// own (hmac: `X-Weir-Id`, feishu: the nonce); other schemes have none.
///
/// # Errors
/// The scheme is unknown or not in this version, or the secret or id cannot be used with it.
pub fn sign(
    scheme: &str,
    secret: &str,
    at_unix_s: u64,
    id: &str,
    body: &[u8],
) -> Result<SignedHeaders, SignError> {
    if secret.is_empty() {
        return Err(SignError::EmptySecret);
    }
    let known = schemes::built().find(|descriptor| descriptor.name == scheme);
    let descriptor = known.ok_or_else(|| SignError::UnknownScheme {
        scheme: scheme.to_owned(),
        known: schemes().collect::<Vec<_>>().join(", "),
    })?;
    (descriptor.sign)(&ToSign {
        secret,
        at_unix_s,
        id,
        body,
        client: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"q":1}"#;

    fn signed(scheme: &str, secret: &str) -> Vec<String> {
        sign(scheme, secret, 1_700_000_000, "id-1", BODY)
            .expect("a scheme of this version")
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    // The expected values were computed with Python's hmac and hashlib.
    #[test]
    fn headers_equal_those_of_another_implementation() {
        assert_eq!(
            signed("hmac", "s3cret"),
            [
                "X-Weir-Timestamp: 1700000000",
                "X-Weir-Id: id-1",
                "X-Weir-Signature: \
                 v1=3606b34ba44f0b4a7f1ef8298340b1fd71ceba9d9ca9de9d17dc1c8d83528206",
            ]
        );
        assert_eq!(signed("bearer", "sk-1"), ["Authorization: Bearer sk-1"]);
        assert_eq!(
            sign("feishu", "kudryavka", 1_700_000_000, "nonce-1", BODY).expect("headers")[2],
            (
                "X-Lark-Signature".to_owned(),
                "e0470f6212ac0535ef74e2adbf1ae4243c614c7bb1f810a4b855b40d62a6d21a".to_owned()
            )
        );
        assert_eq!(
            signed("simple_sha256", "kudryavka"),
            [
                "X-Timestamp: 1700000000",
                "X-Signature: rjUyW628VyhTuVDVG4Ut5x8IOboLHZZJMdUayAhDTsU=",
            ]
        );
    }

    #[test]
    fn errors_of_signing_do_not_show_the_secret() {
        let unknown = sign("slack", "s3cret", 0, "id", BODY).expect_err("not built");
        assert_eq!(
            unknown.to_string(),
            "scheme \"slack\" is not in this version; one of: hmac, bearer, feishu, simple_sha256"
        );
        for (scheme, secret, id) in [
            ("hmac", "", "id"),
            ("hmac", "s3cret", ""),
            ("hmac", "s3cret", "a.b"),
            ("hmac", "s3cret", "a\r\nX-Evil: 1"),
            ("feishu", "s3cret", "a b"),
            ("bearer", "s3cret\n", "id"),
        ] {
            let error = sign(scheme, secret, 0, id, BODY).expect_err(scheme);
            let message = error.to_string();
            assert!(!message.contains("s3cret"), "{message}");
        }
    }
}
