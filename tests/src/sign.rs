//! Independent signers, written from the specifications of the schemes and not from the code of the proxy, so that a
//! bug in the verifier is not repeated in the signer.

use std::sync::atomic::{AtomicU64, Ordering};

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeEncrypt, KeyIvInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The headers of a signature.
pub type Headers = Vec<(String, String)>;

/// SHA-256 in lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

/// The Unix time in seconds.
#[must_use]
pub fn unix_now() -> u64 {
    weir::clock::unix_now().as_secs()
}

/// An id that is unique in this run.
#[must_use]
pub fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("id-{}-{next}", std::process::id())
}

/// weir's own scheme: HMAC-SHA256 over `timestamp.id.body`.
#[must_use]
pub fn sign_hmac(secret: &str, id: &str, at: u64, body: &[u8]) -> Headers {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    mac.update(format!("{at}.{id}.").as_bytes());
    mac.update(body);
    let signature = base16ct::lower::encode_string(&mac.finalize().into_bytes());
    vec![
        header("X-Weir-Timestamp", &at.to_string()),
        header("X-Weir-Id", id),
        header("X-Weir-Signature", &format!("v1={signature}")),
    ]
}

/// As [`sign_hmac`], with the current time and a fresh id.
#[must_use]
pub fn sign_hmac_now(secret: &str, body: &[u8]) -> Headers {
    sign_hmac(secret, &fresh_id(), unix_now(), body)
}

/// As [`sign_hmac_now`], for a named client.
#[must_use]
pub fn sign_hmac_as(client: &str, secret: &str, body: &[u8]) -> Headers {
    let mut headers = sign_hmac_now(secret, body);
    headers.push(header("X-Weir-Key", client));
    headers
}

/// An API key as every OpenAI client sends it.
#[must_use]
pub fn bearer(key: &str) -> Headers {
    vec![header("Authorization", &format!("Bearer {key}"))]
}

/// Feishu events: hex of SHA-256 over timestamp, nonce, encrypt key and the raw body
/// (open.feishu.cn, "Configure encrypt key", signature verification).
#[must_use]
pub fn sign_feishu(encrypt_key: &str, nonce: &str, at: u64, body: &[u8]) -> Headers {
    let mut signed = format!("{at}{nonce}{encrypt_key}").into_bytes();
    signed.extend_from_slice(body);
    vec![
        header("X-Lark-Request-Timestamp", &at.to_string()),
        header("X-Lark-Request-Nonce", nonce),
        header("X-Lark-Signature", &sha256_hex(&signed)),
    ]
}

/// The envelope of Feishu: AES-256-CBC with SHA-256 of the encrypt key and a random IV, in base64.
#[must_use]
pub fn encrypt_feishu(encrypt_key: &str, plain: &[u8]) -> String {
    let key: [u8; 32] = Sha256::digest(encrypt_key.as_bytes()).into();
    let digest = Sha256::digest(fresh_id().as_bytes());
    let mut start = [0_u8; 16];
    start.copy_from_slice(&digest[..16]);
    // Padding adds between one byte and a full block.
    let mut block = plain.to_vec();
    block.resize(plain.len() + 16, 0);
    let sealed = cbc::Encryptor::<Aes256>::new(&key.into(), &start.into())
        .encrypt_padded::<Pkcs7>(&mut block, plain.len())
        .expect("space for the padding");
    let mut envelope = start.to_vec();
    envelope.extend_from_slice(sealed);
    serde_json::json!({ "encrypt": STANDARD.encode(envelope) }).to_string()
}

/// The simplified scheme in circulation: base64 of SHA-256 over timestamp and secret.
#[must_use]
pub fn sign_simple_sha256(secret: &str, at: u64) -> Headers {
    let digest = Sha256::digest(format!("{at}{secret}").as_bytes());
    vec![
        header("X-Timestamp", &at.to_string()),
        header("X-Signature", &STANDARD.encode(digest)),
    ]
}

fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_an_empty_input_is_correct() {
        assert_eq!(
            sha256_hex(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn hmac_matches_openssl() {
        // printf '1700000000.id-1.{}' | openssl dgst -sha256 -hmac secret
        let headers = sign_hmac("secret", "id-1", 1_700_000_000, b"{}");
        let signature = &headers.last().expect("a signature").1;
        assert_eq!(
            signature,
            "v1=47cb51a3b1dfcc307eca924dc8be9c349267f5b598385262c3296f48ff8abbaa"
        );
    }

    #[test]
    fn feishu_matches_sha256sum() {
        // printf '1700000000noncekey{}' | sha256sum
        let headers = sign_feishu("key", "nonce", 1_700_000_000, b"{}");
        assert_eq!(
            headers[2].1,
            "eeea17a251c07ba68b1862fc89789a3b57aab829e96b602697a8f3f58da564e4"
        );
    }

    #[test]
    fn ids_are_unique() {
        assert_ne!(fresh_id(), fresh_id());
    }
}
