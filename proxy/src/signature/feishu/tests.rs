use super::*;
use crate::exchange::SignatureOutcome::{self, Expired, Invalid, Missing, Replayed, Valid};
use crate::signature::testing::{self, request, try_entry, verifier};
use crate::signature::{SignatureVerdict, Verifier};
use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use futures_util::FutureExt;
use http::HeaderValue;

const KEY: &str = "kudryavka";
const TOKEN: &str = "rvaYgkND1GOiu5MM0E1rncYC6PLtF7JV";
const AT_S: u64 = 1_700_000_000;
const HOURS_8: u64 = 8 * 3600;
const EVENT: &str =
    r#"{"schema":"2.0","header":{"event_id":"e-1","token":"t"},"event":{"uuid":"no"}}"#;

fn feishu(keys: &[&str], token: Option<&str>) -> Verifier {
    let keys = match keys {
        [] => String::new(),
        keys => format!(", secrets: [{}]", keys.join(", ")),
    };
    let token = token.map(|token| format!(", verification_token: '{token}'"));
    let yaml = format!("{{scheme: feishu{keys}{}}}", token.unwrap_or_default());
    verifier(&[try_entry(&yaml, "feishu").expect("valid settings")])
}

fn check(verifier: &Verifier, headers: &HeaderMap, body: &[u8], now_s: u64) -> SignatureVerdict {
    testing::check(
        verifier,
        &request(headers, body),
        Duration::from_secs(now_s),
    )
}

fn headers(timestamp: &str, nonce: &str, key: &str, body: &[u8]) -> HeaderMap {
    let digest = digest(&[timestamp.as_bytes(), nonce.as_bytes()], key, body);
    let mut headers = HeaderMap::new();
    let mut put = |name: &HeaderName, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).expect("a value"));
    };
    put(&TIMESTAMP, timestamp);
    put(&NONCE, nonce);
    put(&SIGNATURE, &base16ct::lower::encode_string(&digest));
    headers
}

fn signed(
    verifier: &Verifier,
    timestamp: &str,
    nonce: &str,
    body: &str,
    now_s: u64,
) -> SignatureOutcome {
    let headers = headers(timestamp, nonce, KEY, body.as_bytes());
    let verdict = check(verifier, &headers, body.as_bytes(), now_s);
    if let Some(delivery) = verdict.delivery {
        let accepted = delivery.accepted(Duration::from_secs(now_s)).now_or_never();
        accepted.expect("nothing waits in this process");
    }
    verdict.outcome
}

fn unsigned(verifier: &Verifier, body: &str) -> SignatureVerdict {
    check(verifier, &HeaderMap::new(), body.as_bytes(), AT_S)
}

fn encrypted(key: &str, plaintext: &str) -> String {
    let iv = [9; 16];
    let cipher = cbc::Encryptor::<Aes256>::new(&envelope::decryption_key(key).into(), &iv.into());
    let mut bytes = plaintext.as_bytes().to_vec();
    let length = bytes.len();
    bytes.resize(length + 16, 0);
    let ciphertext = cipher
        .encrypt_padded::<Pkcs7>(&mut bytes, length)
        .expect("room");
    let text = STANDARD.encode([&iv[..], ciphertext].concat());
    format!(r#"{{"encrypt":"{text}"}}"#)
}

fn challenge(token: &str) -> String {
    format!(r#"{{"challenge":"a\"b\\\u00e9","token":"{token}","type":"url_verification"}}"#)
}

/// Vector feishu-aes-1.
#[test]
fn the_official_ciphertext_is_read() {
    let vectors: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../../../tests/vectors/signatures.json"))
            .expect("JSON");
    let vector = vectors
        .iter()
        .find(|vector| vector["id"] == "feishu-aes-1")
        .expect("the vector");
    let body = vector["body"].as_str().expect("text");
    let envelope = Envelope::read(body.as_bytes()).expect("an object");
    let key = envelope::decryption_key(vector["secret"].as_str().expect("text"));
    let plaintext = envelope::decrypt(envelope.encrypt.get().expect("encrypt"), &key);
    let expected = vector["expected"]["plaintext"].as_str().expect("text");
    assert_eq!(plaintext.as_deref(), Some(expected.as_bytes()));
}

#[test]
fn a_redelivered_event_is_a_duplicate_even_with_a_new_signature() {
    let verifier = feishu(&[KEY], None);
    assert_eq!(signed(&verifier, "1700000000", "n1", EVENT, AT_S), Valid);
    let body = encrypted(KEY, EVENT);
    for (timestamp, nonce, body) in [("1700000000", "n1", EVENT), ("1700021600", "n2", &body)] {
        let headers = headers(timestamp, nonce, KEY, body.as_bytes());
        let verdict = check(&verifier, &headers, body.as_bytes(), AT_S + 21_600);
        assert_eq!(verdict.outcome, SignatureOutcome::Duplicate);
        assert_eq!(verdict.client.as_deref(), Some("feishu"));
        let response = verdict.response.expect("the platform's normal 2xx");
        assert_eq!((response.status, response.content_type), (200, JSON));
        assert_eq!(response.body, br#"{"msg":"success"}"#);
    }
    let first_version = r#"{"uuid":"u-1","token":"t","type":"event_callback"}"#;
    let later = AT_S + HOURS_8 + 1;
    assert_eq!(
        signed(&verifier, "1700028801", "n3", first_version, later),
        Valid
    );
    assert_eq!(signed(&verifier, "1700028801", "n4", EVENT, later), Valid);
}

#[test]
fn a_failed_delivery_may_be_redelivered() {
    let verifier = feishu(&[KEY], None);
    let headers = headers("1700000000", "n1", KEY, EVENT.as_bytes());
    let verdict = check(&verifier, &headers, EVENT.as_bytes(), AT_S);
    let delivery = verdict.delivery.expect("a delivery with an id");
    let verdict = check(&verifier, &headers, EVENT.as_bytes(), AT_S);
    assert_eq!(verdict.outcome, SignatureOutcome::Duplicate);
    let repeat = verdict.repeat.expect("the first is in hand");
    // Feishu gives up after 3 s.
    assert!(repeat.respond_within() < Duration::from_secs(3));
    drop(delivery);
    assert_eq!(signed(&verifier, "1700000000", "n1", EVENT, AT_S), Valid);
    assert_eq!(
        signed(&verifier, "1700000000", "n1", EVENT, AT_S),
        SignatureOutcome::Duplicate
    );
}

#[test]
fn without_an_event_id_the_signature_is_stored() {
    let verifier = feishu(&[KEY], None);
    let body = r#"{"schema":"2.0","header":{"event_id":""}}"#;
    assert_eq!(signed(&verifier, "1700000000", "n1", body, AT_S), Valid);
    assert_eq!(signed(&verifier, "1700000000", "n1", body, AT_S), Replayed);
    assert_eq!(signed(&verifier, "1700000000", "n2", body, AT_S), Valid);
}

#[test]
fn characters_of_the_nonce_cannot_hide_a_stale_timestamp() {
    let late = AT_S + HOURS_8 + 1;
    for (timestamp, nonce) in [
        ("1700000000", "5af"),
        ("17000000005", "af"),
        ("17000000005a", "f"),
        ("170000000", "05af"),
    ] {
        let moved = headers(timestamp, nonce, KEY, EVENT.as_bytes());
        let honest = headers("1700000000", "5af", KEY, EVENT.as_bytes());
        assert_eq!(moved.get(&SIGNATURE), honest.get(&SIGNATURE));
        let verdict = check(&feishu(&[KEY], None), &moved, EVENT.as_bytes(), late);
        assert_eq!(verdict.outcome, Expired, "{timestamp}");
    }
    // What is no number at all is opaque, as the vendor's own tests send it.
    for timestamp in [
        "timestamp",
        "Monday, 14-Nov-22 15:53:37 CST",
        "2022-11-14 15:53:37",
    ] {
        assert_eq!(
            signed(&feishu(&[KEY], None), timestamp, "n", EVENT, late),
            Valid
        );
    }
}

#[test]
fn a_binary_tail_is_rejected_even_with_a_valid_hash() {
    // What length extension of SHA-256 yields: the text, padding, and anything. With the key at
    // hand the test need not extend, it can sign.
    let mut body = EVENT.as_bytes().to_vec();
    body.extend_from_slice(b"\x80\0\0\0\0\0\0\x04\xd0{}");
    let headers = headers("1700000000", "n", KEY, &body);
    let verdict = check(&feishu(&[KEY], None), &headers, &body, AT_S);
    assert_eq!(verdict.outcome, Invalid);
}

#[test]
fn a_signed_body_that_cannot_be_decrypted_is_invalid() {
    for body in [
        r#"{"encrypt":""}"#.to_owned(),
        r#"{"encrypt":"!"}"#.to_owned(),
        r#"{"encrypt":"AAAA"}"#.to_owned(),
        format!(r#"{{"encrypt":"{}"}}"#, STANDARD.encode([0; 64])),
        encrypted("another key", EVENT),
        encrypted(KEY, "hello world"),
        "hello world".to_owned(),
    ] {
        assert_eq!(
            signed(&feishu(&[KEY], None), "1700000000", "n", &body, AT_S),
            Invalid,
            "{body}"
        );
    }
}

#[test]
fn the_address_check_is_answered_encrypted_plain_signed_and_unsigned() {
    let plain = challenge(TOKEN);
    for body in [
        plain.clone(),
        encrypted("previous", &plain),
        encrypted(KEY, &plain),
    ] {
        let verifier = feishu(&[KEY, "previous"], Some(TOKEN));
        let verdict = unsigned(&verifier, &body);
        assert_eq!(verdict.outcome, SignatureOutcome::Handshake, "{body}");
        let response = verdict.response.expect("a response");
        assert_eq!((response.status, response.content_type), (200, JSON));
        assert_eq!(
            response.body,
            "{\"challenge\":\"a\\\"b\\\\\u{e9}\"}".as_bytes()
        );
    }
    let body = encrypted(KEY, &plain);
    let verifier = feishu(&[KEY], Some(TOKEN));
    assert_eq!(
        signed(&verifier, "1700000000", "n", &body, AT_S),
        SignatureOutcome::Handshake
    );
}

#[test]
fn an_unsigned_request_gets_only_its_challenge() {
    let verifier = feishu(&[KEY], Some(TOKEN));
    let with_token = format!(r#"{{"token":"{TOKEN}","type":"event_callback","uuid":"u"}}"#);
    let mut broken_padding = encrypted(KEY, &challenge(TOKEN));
    broken_padding.replace_range(60..64, "AAAA");
    let large = format!(
        r#"{{"pad":"{}",{}"#,
        "x".repeat(8_192),
        &challenge(TOKEN)[1..]
    );
    let mut details = Vec::new();
    for body in [
        with_token.clone(),
        encrypted(KEY, &with_token),
        encrypted(KEY, EVENT),
        encrypted(KEY, &challenge("wrong")),
        encrypted("another key", &challenge(TOKEN)),
        challenge("wrong"),
        challenge(""),
        r#"{"challenge":"c","type":"url_verification"}"#.to_owned(),
        broken_padding,
        large,
        String::new(),
        "[".repeat(4_000),
    ] {
        let verdict = unsigned(&verifier, &body);
        assert_eq!(verdict.outcome, Missing, "{body}");
        assert!(verdict.response.is_none());
        details.push(verdict.detail);
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
}

#[test]
fn without_a_token_of_its_own_a_route_answers_no_unsigned_challenge() {
    for token in [None, Some("")] {
        let verifier = feishu(&[KEY], token);
        assert_eq!(unsigned(&verifier, &challenge("")).outcome, Missing);
        assert_eq!(
            unsigned(&verifier, &encrypted(KEY, &challenge(TOKEN))).outcome,
            Missing
        );
    }
}

#[test]
fn without_an_encrypt_key_the_token_decides() {
    let verifier = feishu(&[], Some(TOKEN));
    let second = |token: &str| {
        format!(
            r#"{{"schema":"2.0","header":{{"event_id":"e","token":"{token}"}},"token":"{TOKEN}"}}"#
        )
    };
    assert_eq!(unsigned(&verifier, &second("wrong")).outcome, Invalid);
    let verdict = unsigned(&verifier, &second(TOKEN));
    assert_eq!((verdict.outcome, verdict.key), (Valid, None));
    assert_eq!(
        unsigned(&verifier, &second(TOKEN)).outcome,
        SignatureOutcome::Duplicate
    );
    assert_eq!(
        unsigned(&verifier, &challenge(TOKEN)).outcome,
        SignatureOutcome::Handshake
    );
    assert_eq!(unsigned(&verifier, &challenge("wrong")).outcome, Invalid);
    for body in ["", "{}", r#"{"encrypt":"AAAA"}"#, r#"{"token":1}"#, "hello"] {
        assert_eq!(unsigned(&verifier, body).outcome, Missing, "{body}");
    }
}
