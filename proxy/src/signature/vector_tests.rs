//! The collected vectors (tests/vectors/signatures.json): every one of a scheme that is built is
//! run by its id; those of schemes that are not are counted, so that none goes missing.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Deserialize;

use super::testing::{headers, request, try_entry, verifier};
use super::*;
use crate::exchange::SignatureOutcome::{Duplicate, Handshake, Invalid, Missing, Valid};

const VECTORS: &str = include_str!("../../../tests/vectors/signatures.json");

#[derive(Deserialize)]
struct Vector {
    id: String,
    scheme: String,
    secret: String,
    headers: HashMap<String, String>,
    body: String,
    expected_valid: bool,
    now: Option<u64>,
    #[serde(default)]
    params: HashMap<String, serde_json::Value>,
    #[serde(default)]
    expected: serde_json::Value,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(VECTORS).expect("the vectors are JSON")
}

impl Vector {
    /// `None` when the scheme is not in this version.
    fn scheme(&self) -> Option<&'static str> {
        match self.scheme.as_str() {
            "feishu-event-sha256" | "feishu-url-verification" | "feishu-verification-token" => {
                Some("feishu")
            }
            "seed-sha256-ts-secret" => Some("simple_sha256"),
            _ => None,
        }
    }

    fn verifier(&self) -> Option<Verifier> {
        let mut entry = serde_json::json!({
            "scheme": self.scheme()?,
            "tolerance": "8h",
            "replay": "8h",
        });
        if !self.secret.is_empty() {
            entry["secrets"] = serde_json::json!([self.secret]);
        }
        if let Some(token) = self.params.get("verification_token") {
            entry["verification_token"] = token.clone();
        }
        // JSON is YAML.
        let config = try_entry(&entry.to_string(), "hooks").expect("a valid entry");
        Some(verifier(&[config]))
    }

    fn check(&self, verifier: &Verifier) -> SignatureVerdict {
        let lines: Vec<_> = self.headers.iter().collect();
        let headers = headers(&lines);
        let now = Duration::from_secs(self.now.unwrap_or(1_700_000_000));
        testing::check(verifier, &request(&headers, self.body.as_bytes()), now)
    }
}

#[test]
fn every_vector_of_a_built_scheme_has_its_verdict() {
    let mut run = Vec::new();
    for vector in vectors() {
        let Some(verifier) = vector.verifier() else {
            continue;
        };
        let verdict = vector.check(&verifier);
        let good = matches!(verdict.outcome, Valid | Handshake);
        assert_eq!(good, vector.expected_valid, "{}: {verdict:?}", vector.id);
        let shown = format!("{verdict:?}");
        assert!(
            vector.secret.is_empty() || !shown.contains(&vector.secret),
            "{shown}"
        );
        if let Some(expected) = vector.expected.get("response_json") {
            let response = verdict.response.as_ref().expect("a response");
            let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
            assert_eq!((response.status, &body), (200, expected), "{}", vector.id);
            assert_eq!(response.content_type, "application/json; charset=utf-8");
        }
        if vector.expected.get("dedupe_id").is_some() {
            let again = vector.check(&verifier);
            assert_eq!(again.outcome, Duplicate, "{}", vector.id);
            let response = again.response.expect("the platform's normal 2xx");
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, &b"{\"msg\":\"success\"}"[..])
            );
        }
        run.push((vector.id, verdict.outcome));
    }
    run.sort_by(|a, b| a.0.cmp(&b.0));
    let run: Vec<_> = run
        .iter()
        .map(|(id, outcome)| (id.as_str(), *outcome))
        .collect();
    assert_eq!(
        run,
        [
            ("feishu-event-body-one-space-added", Invalid),
            ("feishu-event-lowercase-header-names", Valid),
            ("feishu-event-no-signature-headers", Missing),
            ("feishu-event-seed-doc-signature", Invalid),
            ("feishu-event-signed-over-decrypted-body", Invalid),
            ("feishu-event-verification-token-as-key", Invalid),
            ("feishu-sign-go-sdk-inputs", Handshake),
            ("feishu-urlverify-encrypted-no-headers", Handshake),
            ("feishu-urlverify-wrong-token", Invalid),
            ("feishu-v1-token-bad", Invalid),
            ("feishu-v1-token-ok", Valid),
            ("seed-doc-simple", Valid),
        ]
    );
}

/// The vectors that are left, by scheme. Who builds one of these takes its line away and gives it
/// a place in `Vector::scheme`.
#[test]
fn vectors_of_schemes_that_are_not_built_are_counted() {
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for vector in vectors() {
        // The one for decryption alone is run in `feishu::tests`.
        if vector.scheme().is_none() && vector.id != "feishu-aes-1" {
            *left.entry(vector.scheme).or_default() += 1;
        }
    }
    let left: Vec<(&str, usize)> = left
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(
        left,
        [
            ("aws-sigv4", 2),
            ("dingtalk-event-aes-sha1", 2),
            ("dingtalk-robot-hmac", 3),
            ("discord-ed25519", 3),
            ("feishu-card-sha1", 2),
            ("feishu-custom-bot-sign", 2),
            ("hub-signature-256", 10),
            ("line-hmac-base64", 2),
            ("meta-hub-challenge", 2),
            ("rfc9421-ed25519", 1),
            ("rfc9421-hmac-sha256", 2),
            ("slack-v0", 6),
            ("standard-webhooks-v1", 10),
            ("standard-webhooks-v1a", 2),
            ("stripe-v1", 8),
            ("telegram-secret-token", 3),
            ("twilio-sha1-url", 1),
            ("wecom-sha1-aes", 4),
        ]
    );
}
