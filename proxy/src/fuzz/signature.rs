//! Signatures and platform envelopes: without the secret, nothing is valid.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};

use crate::config;
use crate::exchange::SignatureOutcome;
use crate::signature::shared_stores::SharedStores;
use crate::signature::{Request, SignatureVerdict, Verifier, sign};

/// `SECRET` in the configuration below.
const SECRET: &str = "0d5b6c1e8f4a4c0b9e7d3a2f1c8b7a69";
const AT_S: u64 = 1_700_000_000;

/// One route for each scheme, and two for a Feishu application: with a key, and with its token only.
const CONFIG: &str = r#"
backends: [{name: a, endpoints: ["http://127.0.0.1:1"]}]
routes:
  - {name: hmac, path: /1, backend: a, signature: {scheme: hmac, clients: [{name: c, secrets: ["${SECRET}"]}]}}
  - {name: bearer, path: /2, backend: a, signature: {scheme: bearer, clients: [{name: c, secrets: ["${SECRET}"]}]}}
  - {name: simple, path: /3, backend: a, signature: {scheme: simple_sha256, secrets: ["${SECRET}"]}}
  - {name: feishu-key, path: /4, backend: a, signature: {scheme: feishu, secrets: ["${SECRET}"]}}
  - {name: feishu-token, path: /5, backend: a, signature: {scheme: feishu, verification_token: "${SECRET}"}}
"#;

/// The headers that a scheme reads, in the order of their index in the input.
const HEADERS: [&str; 13] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-weir-key",
    "x-weir-timestamp",
    "x-weir-id",
    "x-weir-signature",
    "x-lark-request-timestamp",
    "x-lark-request-nonce",
    "x-lark-signature",
    "x-timestamp",
    "x-signature",
    "content-type",
];

/// The schemes by the name of their route.
static VERIFIERS: LazyLock<Vec<(Box<str>, Verifier)>> = LazyLock::new(|| {
    let secret = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    let Ok(loaded) = config::parse(CONFIG, Path::new("fuzz.yaml"), &secret) else {
        return Vec::new();
    };
    let routes = loaded.config.routes.iter();
    let verifiers = routes.filter_map(|route| {
        let verifier = Verifier::new(&route.signature, &SharedStores::new(&route.signature))?;
        Some(((*route.name).into(), verifier))
    });
    verifiers.collect()
});

fn check(verifier: &Verifier, headers: &HeaderMap, body: &[u8]) -> Option<SignatureVerdict> {
    let request = Request {
        method: &Method::POST,
        path: "/v1/chat/completions",
        query: "",
        headers,
        body,
    };
    let now = Duration::from_secs(AT_S);
    verifier
        .verify(&request, now)
        .check_and_insert(now)
        .now_or_never()
}

/// Lines of an index and a value as headers, and what follows an empty line as the body: no scheme accepts
/// them.
pub fn headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut rest = data;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = rest.split_at(end);
        rest = &after[1..];
        let Some((index, value)) = line.split_first() else {
            break;
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            let name = HEADERS[usize::from(*index) % HEADERS.len()];
            headers.append(HeaderName::from_static(name), value);
        }
    }
    for (route, verifier) in &*VERIFIERS {
        let verdict = check(verifier, &headers, rest);
        assert!(
            verdict
                .as_ref()
                .is_some_and(|verdict| is_rejected(verdict.outcome)),
            "{route}: {verdict:?} of {headers:?}"
        );
    }
}

fn is_rejected(outcome: SignatureOutcome) -> bool {
    !matches!(
        outcome,
        SignatureOutcome::Valid | SignatureOutcome::Duplicate | SignatureOutcome::Handshake
    )
}

/// The input as a body, unsigned and signed, and as the plaintext of an encrypted body.
pub fn feishu(data: &[u8]) {
    let encrypted = encrypted(data);
    let verifiers = VERIFIERS.iter();
    for (route, verifier) in verifiers.filter(|(route, _)| route.starts_with("feishu")) {
        let unsigned = check(verifier, &HeaderMap::new(), data);
        let outcome = unsigned.map(|verdict| verdict.outcome);
        assert!(outcome.is_some_and(is_rejected), "{route}: {outcome:?}");
        for body in [data, &encrypted] {
            let signed = check(verifier, &signed(body), body);
            assert!(signed.is_some(), "verification never waits in this process");
        }
    }
}

fn signed(body: &[u8]) -> HeaderMap {
    let pairs = sign::sign("feishu", SECRET, AT_S, "nonce", body).unwrap_or_default();
    let pairs = pairs.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    pairs.collect()
}

/// Encrypts a body as Feishu does: AES-256-CBC under the hash of the key, prefixed with the IV, in base64.
fn encrypted(plaintext: &[u8]) -> Vec<u8> {
    const IV: [u8; 16] = [7; 16];
    let key: [u8; 32] = Sha256::digest(SECRET).into();
    let Ok(cipher) = cbc::Encryptor::<Aes256>::new_from_slices(&key, &IV) else {
        return Vec::new();
    };
    let mut buffer = [plaintext, &IV].concat();
    let ciphertext = cipher.encrypt_padded::<Pkcs7>(&mut buffer, plaintext.len());
    let text = STANDARD.encode([&IV[..], ciphertext.unwrap_or_default()].concat());
    format!("{{\"encrypt\":\"{text}\"}}").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_scheme_is_fuzzed() {
        let schemes = VERIFIERS.iter().map(|(_, verifier)| {
            let verdict = check(verifier, &HeaderMap::new(), b"{}").expect("a verdict");
            verdict.scheme
        });
        let schemes: BTreeSet<_> = schemes.collect();
        assert_eq!(schemes, sign::schemes().collect());
    }
}
