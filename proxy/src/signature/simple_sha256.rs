//! `simple_sha256`: `X-Signature: base64(sha256(timestamp + secret))` with `X-Timestamp` in unix
//! seconds, the simplified check in circulation.
//!
//! It covers no body: whoever sees one request can send any other until its timestamp expires. The
//! replay store takes some of that away: a signature is good for one request, so a second request
//! of the same second is refused too, whatever its body.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::headers::{self, Decoded};
use super::replay::{Key, Sighting, Store};
use super::scheme::{Accepted, Rejection, Scheme, SignedBy, usable};
use super::{Encoding, Request};

pub(super) const NAME: &str = "simple_sha256";

static TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");
static SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
static NEEDED: [HeaderName; 2] = [
    HeaderName::from_static("x-timestamp"),
    HeaderName::from_static("x-signature"),
];

pub(super) struct SimpleSha256 {
    secrets: Vec<(usize, Box<str>)>,
    client: Arc<str>,
    tolerance: Duration,
    replay: Option<Store>,
}

impl SimpleSha256 {
    pub(super) fn new(
        secrets: &[String],
        client: Arc<str>,
        tolerance: Duration,
        replay: Option<Store>,
    ) -> Result<Self, String> {
        let secrets = usable(secrets, NAME)?;
        Ok(SimpleSha256 {
            secrets: secrets
                .into_iter()
                .map(|(place, secret)| (place, Box::from(secret)))
                .collect(),
            client,
            tolerance,
            replay,
        })
    }
}

impl Scheme for SimpleSha256 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(&SIGNATURE)
    }

    fn verified_headers(&self) -> &[HeaderName] {
        &NEEDED
    }

    fn wanted(&self) -> &str {
        "x-timestamp and x-signature"
    }

    fn covers_body(&self) -> bool {
        false
    }

    fn check(&self, request: &Request<'_>, now: Duration) -> Result<Accepted, Rejection> {
        headers::all_there(request.headers, &NEEDED)?;
        let timestamp = headers::single(request.headers, &TIMESTAMP)?;
        let timestamp_s = headers::unix_seconds(timestamp)
            .ok_or_else(|| Rejection::invalid("x-timestamp is not in whole unix seconds"))?;
        let signature = headers::single(request.headers, &SIGNATURE)?;
        let presented = Decoded::read(signature, Encoding::Base64)
            .ok_or_else(|| Rejection::invalid("x-signature is not base64"))?;
        let mut matched = None;
        for (place, secret) in &self.secrets {
            let digest = digest(timestamp, secret);
            if bool::from(digest.as_slice().ct_eq(presented.as_bytes())) && matched.is_none() {
                matched = Some(*place);
            }
        }
        let key = matched.ok_or_else(Rejection::wrong_signature)?;
        headers::fresh(timestamp_s, now, self.tolerance)?;
        if let Some(store) = &self.replay
            && store.witness(Key::of(&[timestamp, presented.as_bytes()]), now) == Sighting::Again
        {
            return Err(Rejection::replayed(
                "this signature was used before; it covers no body, so it is good for one request",
            ));
        }
        Ok(Accepted::Valid {
            by: SignedBy {
                client: self.client.clone(),
                key: Some(key),
            },
            delivery: None,
        })
    }
}

/// What a client sends.
pub(super) fn sign(secret: &str, at_unix_s: u64) -> Vec<(String, String)> {
    let timestamp = at_unix_s.to_string();
    let signature = STANDARD.encode(digest(timestamp.as_bytes(), secret));
    vec![
        ("X-Timestamp".to_owned(), timestamp),
        ("X-Signature".to_owned(), signature),
    ]
}

fn digest(timestamp: &[u8], secret: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(timestamp)
        .chain_update(secret)
        .finalize()
        .into()
}
