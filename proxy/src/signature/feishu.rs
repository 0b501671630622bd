//! `feishu`: event subscriptions of Feishu and Lark
//! (open.feishu.cn/document/server-docs/event-subscription-guide).
//!
//! With an encrypt key: `X-Lark-Signature` is the hex of SHA-256 over timestamp, nonce, encrypt key
//! and the raw body, and the body may be encrypted. Without one only the verification token in the
//! body identifies the sender. Feishu's check of the address has no signature even when there is a key: such a
//! request only gets its challenge back.
//!
//! The secret is in the middle of the hashed text, so a known signature can be extended to the same text with a binary
//! tail (length extension): a signed body that is not one JSON object is therefore rejected.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use self::envelope::{Envelope, Handshake};
use super::Request;
use super::credentials::{
    Again, Credential, Credentials, Distinct, SignedHeaders, ToSign, visible,
};
use super::error::SignError;
use super::headers::{self, Decoded, SignatureEncoding};
use super::rejection::SignatureRejection;
use super::replay::ReplayKey;
use super::scheme::{
    Accepted, Context, Descriptor, Identity, Message, PlatformResponse, Redelivery, Scheme,
    SchemeSettings, SignedBy, Windows,
};
use super::secret::HashedSecret;

mod envelope;
mod settings;

const NAME: &str = "feishu";

/// Feishu redelivers up to six hours later, possibly with the first timestamp.
const EIGHT_HOURS: Duration = Duration::from_secs(8 * 3600);

pub(super) static SCHEME: Descriptor = Descriptor {
    name: NAME,
    platform: Some(NAME),
    settings: SchemeSettings::of::<settings::Settings>(),
    windows: Some(Windows {
        tolerance: EIGHT_HOURS,
        replay: EIGHT_HOURS,
    }),
    challenge: NAME,
    invalid_title: None,
    redelivery: Some(Redelivery {
        respond_within: RESPOND_WITHIN,
        acknowledgement: || response(br#"{"msg":"success"}"#.to_vec()),
        message,
    }),
    sign,
    #[cfg(test)]
    cases: super::scheme_tests::Cases {
        // Feishu never sends a body that is not JSON.
        empty_body: crate::exchange::SignatureOutcome::Invalid,
        ..super::scheme_tests::Cases::of_body("x-lark-signature")
    },
};

const JSON: &str = "application/json; charset=utf-8";

/// The largest unsigned body that is parsed: a challenge has some 300 bytes.
const UNSIGNED_BODY_BYTES_MAX: usize = 8 * 1024;

/// Feishu gives a delivery up after 3 s, connecting included, and then redelivers it after 15 s, 5 min, 1 h
/// and 6 h (open.feishu.cn/document/server-docs/event-subscription-guide). Half a second is left for the network.
const RESPOND_WITHIN: Duration = Duration::from_millis(2_500);

/// Feishu's timestamps have ten digits, until the year 2286.
const TIMESTAMP_DIGITS: usize = 10;

static TIMESTAMP: HeaderName = HeaderName::from_static("x-lark-request-timestamp");
static NONCE: HeaderName = HeaderName::from_static("x-lark-request-nonce");
static SIGNATURE: HeaderName = HeaderName::from_static("x-lark-signature");
static REQUIRED: [HeaderName; 3] = [
    HeaderName::from_static("x-lark-request-timestamp"),
    HeaderName::from_static("x-lark-request-nonce"),
    HeaderName::from_static("x-lark-signature"),
];

struct Feishu {
    keys: Vec<EncryptKey>,
    token: Option<Token>,
    client: Arc<str>,
    tolerance: Duration,
    replay: Duration,
}

struct EncryptKey {
    position: usize,
    text: SecretString,
    decryption: [u8; 32],
}

/// The verification token.
struct Token {
    hashed: HashedSecret,
    text: SecretString,
}

impl Token {
    fn matches(&self, presented: &str) -> bool {
        self.hashed.matches(&HashedSecret::of(presented.as_bytes()))
    }
}

impl Feishu {
    fn by(&self, key: Option<usize>) -> SignedBy {
        SignedBy {
            client: self.client.clone(),
            key,
        }
    }

    fn matching(
        &self,
        signature: &Decoded,
        parts: &[&[u8]; 2],
        body: &[u8],
    ) -> Option<&EncryptKey> {
        let mut matched = None;
        for key in &self.keys {
            let digest = digest(parts, key.text.expose_secret(), body);
            let equal = bool::from(digest.as_slice().ct_eq(signature.as_bytes()));
            if equal && matched.is_none() {
                matched = Some(key);
            }
        }
        matched
    }

    /// A request whose sender is known: identified by the id of its delivery, else by `fallback`.
    fn valid(
        &self,
        content: &Envelope<'_>,
        key: Option<usize>,
        fallback: Option<&[u8]>,
        context: &Context<'_>,
    ) -> Accepted {
        let identity = || match content.delivery_id() {
            Some(id) => Some(Identity::Delivery(ReplayKey::of(&[
                b"delivery",
                id.as_bytes(),
            ]))),
            None => Some(Identity::Nonce(ReplayKey::of(&[b"signature", fallback?]))),
        };
        Accepted::Valid {
            by: self.by(key),
            identity: context.namespaces.and_then(|_| identity()),
        }
    }

    /// Without any encrypt key the token in the body decides. `None`: there is none.
    fn check_token(
        &self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Option<Result<Accepted, SignatureRejection>> {
        let content = Envelope::read(request.body)?;
        let handshake = content.handshake();
        let presented = match &handshake {
            Some(handshake) => handshake.token,
            None => content.token(),
        };
        if !self.token.as_ref()?.matches(presented?) {
            return Some(Err(SignatureRejection::invalid(
                "the verification token in the body is not that of this route",
            )));
        }
        Some(match handshake {
            Some(handshake) => Ok(accept(&handshake, None)),
            None => Ok(self.valid(&content, None, None, context)),
        })
    }

    /// The check of the address, which Feishu does not sign. For any other or invalid body the sender learns only that it
    /// is not signed: another response for invalid padding would be a padding oracle.
    fn check_handshake(&self, body: &[u8]) -> Option<Accepted> {
        if body.len() > UNSIGNED_BODY_BYTES_MAX {
            return None;
        }
        let token = self.token.as_ref()?;
        let outer = Envelope::read(body)?;
        let accepted_if_ours = |content: &Envelope<'_>, key| {
            let handshake = content.handshake()?;
            let is_ours = token.matches(handshake.token?);
            is_ours.then(|| accept(&handshake, key))
        };
        let Some(encrypt) = outer.encrypt.get() else {
            return accepted_if_ours(&outer, None);
        };
        self.keys.iter().find_map(|key| {
            let plaintext = envelope::decrypt(encrypt, &key.decryption)?;
            accepted_if_ours(&Envelope::read(&plaintext)?, Some(key.position))
        })
    }

    /// A whole number is a time. Anything else is opaque, unless it begins with a whole timestamp: timestamp and nonce
    /// have no separator in the signed text, so the first characters of the nonce could be moved over to make an old
    /// timestamp look opaque.
    fn fresh(&self, timestamp: &[u8], now: Duration) -> Result<(), SignatureRejection> {
        let digits = timestamp
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits < timestamp.len() && digits < TIMESTAMP_DIGITS {
            return Ok(());
        }
        let seconds = headers::unix_seconds(&timestamp[..digits]).unwrap_or(u64::MAX);
        headers::fresh(seconds, now, self.tolerance)
    }
}

impl Scheme for Feishu {
    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        !self.keys.is_empty() && headers.contains_key(&SIGNATURE)
    }

    fn verified_headers(&self) -> &[HeaderName] {
        match self.keys.is_empty() {
            // Without a key they have not been verified.
            true => &[],
            false => &REQUIRED,
        }
    }

    fn reads_body(&self) -> bool {
        true
    }

    fn required_credentials(&self) -> &str {
        if self.keys.is_empty() {
            "a JSON body with the verification token"
        } else {
            "x-lark-request-timestamp, x-lark-request-nonce and x-lark-signature"
        }
    }

    fn verify(
        &self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Accepted, SignatureRejection> {
        headers::all_there(request.headers, &REQUIRED)?;
        let timestamp = headers::single(request.headers, &TIMESTAMP)?;
        let nonce = headers::single(request.headers, &NONCE)?;
        let text = headers::single(request.headers, &SIGNATURE)?;
        let signature = Decoded::read(text, SignatureEncoding::Hex)
            .ok_or_else(|| SignatureRejection::invalid("x-lark-signature is not hex"))?;
        let key = self
            .matching(&signature, &[timestamp, nonce], request.body)
            .ok_or_else(SignatureRejection::invalid_signature)?;
        self.fresh(timestamp, context.now)?;

        let outer = Envelope::read(request.body)
            .ok_or_else(|| SignatureRejection::invalid("the body is not a JSON object"))?;
        let plaintext;
        let content = match outer.encrypt.get() {
            None => outer,
            Some(encrypt) => {
                plaintext = envelope::decrypt(encrypt, &key.decryption)
                    .ok_or_else(|| SignatureRejection::invalid("`encrypt` cannot be decrypted"))?;
                Envelope::read(&plaintext).ok_or_else(|| {
                    SignatureRejection::invalid("`encrypt` does not hold a JSON object")
                })?
            }
        };
        if let Some(handshake) = content.handshake() {
            return Ok(accept(&handshake, Some(key.position)));
        }
        let fallback = Some(signature.as_bytes());
        Ok(self.valid(&content, Some(key.position), fallback, context))
    }

    fn verify_unsigned(
        &self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Option<Result<Accepted, SignatureRejection>> {
        if self.keys.is_empty() {
            self.check_token(request, context)
        } else {
            self.check_handshake(request.body).map(Ok)
        }
    }

    fn credentials(&self) -> Result<Vec<Credentials>, SignError> {
        let key = self.keys.first();
        let token = self.token.as_ref();
        let token = token.map(|token| Credential::Token(token.text.clone()));
        let credential = match key {
            Some(key) => Some(Credential::Secret(key.text.clone())),
            None => token,
        };
        let again = match self.replay.is_zero() {
            true => Again::Admitted,
            false => Again::Acknowledged,
        };
        let credentials = credential.map(|credential| Credentials {
            client: None,
            credential,
            age_max: key.map(|_| self.tolerance),
            again,
            distinct: Distinct::Always,
        });
        Ok(credentials.into_iter().collect())
    }
}

/// What Feishu sends with an event; the id is the nonce.
fn sign(request: &ToSign<'_>) -> Result<SignedHeaders, SignError> {
    let id = visible(request.id)?;
    let timestamp = request.at_unix_s.to_string();
    let parts = [timestamp.as_bytes(), id.as_bytes()];
    let digest = digest(&parts, request.secret, request.body);
    let signature = base16ct::lower::encode_string(&digest);
    Ok(vec![
        ("X-Lark-Request-Timestamp".to_owned(), timestamp),
        ("X-Lark-Request-Nonce".to_owned(), id.to_owned()),
        ("X-Lark-Signature".to_owned(), signature),
    ])
}

/// The body of an event of version 2 with a text.
fn message(message: &Message<'_>) -> Vec<u8> {
    let content = serde_json::json!({"text": message.text}).to_string();
    let event = serde_json::json!({
        "schema": "2.0",
        "header": {
            "event_id": message.id,
            "event_type": "im.message.receive_v1",
            "token": message.token,
        },
        "event": {"message": {"content": content}},
    });
    event.to_string().into_bytes()
}

fn digest(timestamp_and_nonce: &[&[u8]; 2], encrypt_key: &str, body: &[u8]) -> [u8; 32] {
    let [timestamp, nonce] = timestamp_and_nonce;
    Sha256::new()
        .chain_update(timestamp)
        .chain_update(nonce)
        .chain_update(encrypt_key)
        .chain_update(body)
        .finalize()
        .into()
}

fn accept(handshake: &Handshake<'_>, key: Option<usize>) -> Accepted {
    let body = serde_json::json!({ "challenge": handshake.challenge });
    Accepted::Handshake {
        key,
        response: response(body.to_string().into_bytes()),
    }
}

fn response(body: Vec<u8>) -> PlatformResponse {
    PlatformResponse {
        status: 200,
        content_type: JSON,
        body,
    }
}

#[cfg(test)]
mod tests;
