//! `feishu`: event subscriptions of Feishu and Lark
//! (open.feishu.cn/document/server-docs/event-subscription-guide).
//!
//! With an encrypt key: `X-Lark-Signature` is the hex of SHA-256 over timestamp, nonce, encrypt key
//! and the raw body, and the body may be encrypted. Without one only the verification token in the
//! body tells who sent it. Feishu's check of the address carries no header of its own even when
//! there is a key: such a request may do nothing but have its challenge answered.
//!
//! The hash has its secret in the middle, so whoever knows one signature can make another for the
//! same text with a binary tail: a signed body that is not one JSON object is therefore refused.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use self::envelope::{Envelope, Handshake};
use super::delivery::{Claim, Repeat};
use super::headers::{self, Decoded};
use super::replay::{Key, Sighting, Store};
use super::scheme::{Accepted, Rejection, Scheme, Sealed, SignedBy, usable};
use super::{Encoding, PlatformAnswer, Request};

mod envelope;

pub(super) const NAME: &str = "feishu";

const JSON: &str = "application/json; charset=utf-8";

/// The largest body that is looked into without a signature: a challenge has some 300 bytes.
const UNSIGNED_BODY_BYTES_MAX: usize = 8 * 1024;

/// Feishu gives a delivery up after 3 s, connecting included, and then sends it again after 15 s, 5 min, 1 h
/// and 6 h (open.feishu.cn/document/server-docs/event-subscription-guide). Half a second is for the way.
const ANSWER_WITHIN: Duration = Duration::from_millis(2_500);

/// Feishu's timestamps have ten digits, until the year 2286.
const TIMESTAMP_DIGITS: usize = 10;

static TIMESTAMP: HeaderName = HeaderName::from_static("x-lark-request-timestamp");
static NONCE: HeaderName = HeaderName::from_static("x-lark-request-nonce");
static SIGNATURE: HeaderName = HeaderName::from_static("x-lark-signature");
static NEEDED: [HeaderName; 3] = [
    HeaderName::from_static("x-lark-request-timestamp"),
    HeaderName::from_static("x-lark-request-nonce"),
    HeaderName::from_static("x-lark-signature"),
];

pub(super) struct Feishu {
    keys: Vec<EncryptKey>,
    token: Option<Sealed>,
    client: Arc<str>,
    tolerance: Duration,
    replay: Option<Store>,
}

struct EncryptKey {
    place: usize,
    text: Box<str>,
    decryption: [u8; 32],
}

impl Feishu {
    pub(super) fn new(
        encrypt_keys: &[String],
        verification_token: Option<&str>,
        client: Arc<str>,
        tolerance: Duration,
        replay: Option<Store>,
    ) -> Result<Self, String> {
        let token = verification_token.filter(|token| !token.is_empty());
        let keys = match encrypt_keys {
            [] if token.is_none() => {
                return Err("feishu has neither secrets nor a verification_token".to_owned());
            }
            [] => Vec::new(),
            keys => usable(keys, NAME)?,
        };
        Ok(Feishu {
            keys: keys
                .into_iter()
                .map(|(place, text)| EncryptKey {
                    place,
                    text: Box::from(text),
                    decryption: envelope::decryption_key(text),
                })
                .collect(),
            token: token.map(|token| Sealed::new(token.as_bytes())),
            client,
            tolerance,
            replay,
        })
    }

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
            let digest = digest(parts, &key.text, body);
            let equal = bool::from(digest.as_slice().ct_eq(signature.as_bytes()));
            if equal && matched.is_none() {
                matched = Some(key);
            }
        }
        matched
    }

    /// What a request is whose sender is known. `fallback` is what is remembered of one that has no
    /// delivery id.
    fn settle(
        &self,
        content: &Envelope<'_>,
        key: Option<usize>,
        fallback: Option<&[u8]>,
        now: Duration,
    ) -> Result<Accepted, Rejection> {
        let mut delivery = None;
        if let Some(store) = &self.replay {
            if let Some(id) = content.delivery_id() {
                let id = Key::of(&[b"delivery", id.as_bytes()]);
                match store.claim(id, now, ANSWER_WITHIN) {
                    Claim::First(first) => delivery = Some(first),
                    Claim::Open(repeat) => return Ok(self.duplicate(key, Some(repeat))),
                    Claim::Taken => return Ok(self.duplicate(key, None)),
                }
            } else if let Some(signature) = fallback
                && store.witness(Key::of(&[b"signature", signature]), now) == Sighting::Again
            {
                return Err(Rejection::replayed("this signature was used before"));
            }
        }
        Ok(Accepted::Valid {
            by: self.by(key),
            delivery,
        })
    }

    fn duplicate(&self, key: Option<usize>, repeat: Option<Repeat>) -> Accepted {
        Accepted::Duplicate {
            by: self.by(key),
            repeat,
            answer: answer(br#"{"msg":"success"}"#.to_vec()),
        }
    }

    /// Without any encrypt key the token in the body decides. `None`: there is none.
    fn check_token(
        &self,
        request: &Request<'_>,
        now: Duration,
    ) -> Option<Result<Accepted, Rejection>> {
        let content = Envelope::read(request.body)?;
        let handshake = content.handshake();
        let presented = match &handshake {
            Some(handshake) => handshake.token,
            None => content.token(),
        };
        let presented = Sealed::new(presented?.as_bytes());
        if !self.token.as_ref()?.matches(&presented) {
            return Some(Err(Rejection::invalid(
                "the verification token in the body is not that of this route",
            )));
        }
        Some(match handshake {
            Some(handshake) => Ok(accept(&handshake, None)),
            None => self.settle(&content, None, None, now),
        })
    }

    /// The check of the address, which Feishu does not sign. Whatever else it may be, or whatever
    /// is wrong with it, the sender learns only that it is not signed: a different answer for a
    /// wrong padding would let anybody decrypt what he has recorded.
    fn check_handshake(&self, body: &[u8]) -> Option<Accepted> {
        if body.len() > UNSIGNED_BODY_BYTES_MAX {
            return None;
        }
        let token = self.token.as_ref()?;
        let outer = Envelope::read(body)?;
        let answered = |content: &Envelope<'_>, key| {
            let handshake = content.handshake()?;
            let presented = Sealed::new(handshake.token?.as_bytes());
            token.matches(&presented).then(|| accept(&handshake, key))
        };
        let Some(encrypt) = outer.encrypt.get() else {
            return answered(&outer, None);
        };
        self.keys.iter().find_map(|key| {
            let plaintext = envelope::decrypt(encrypt, &key.decryption)?;
            answered(&Envelope::read(&plaintext)?, Some(key.place))
        })
    }

    /// A whole number is a time. Anything else is opaque, unless it begins with a whole timestamp:
    /// nothing stands between timestamp and nonce in the signed text, so the nonce's first
    /// characters could be moved over to make an old timestamp look opaque.
    fn fresh(&self, timestamp: &[u8], now: Duration) -> Result<(), Rejection> {
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
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        !self.keys.is_empty() && headers.contains_key(&SIGNATURE)
    }

    fn verified_headers(&self) -> &[HeaderName] {
        match self.keys.is_empty() {
            // Without a key nobody has looked at them.
            true => &[],
            false => &NEEDED,
        }
    }

    fn wanted(&self) -> &str {
        if self.keys.is_empty() {
            "a JSON body with the verification token"
        } else {
            "x-lark-request-timestamp, x-lark-request-nonce and x-lark-signature"
        }
    }

    fn covers_body(&self) -> bool {
        true
    }

    fn check(&self, request: &Request<'_>, now: Duration) -> Result<Accepted, Rejection> {
        headers::all_there(request.headers, &NEEDED)?;
        let timestamp = headers::single(request.headers, &TIMESTAMP)?;
        let nonce = headers::single(request.headers, &NONCE)?;
        let text = headers::single(request.headers, &SIGNATURE)?;
        let signature = Decoded::read(text, Encoding::Hex)
            .ok_or_else(|| Rejection::invalid("x-lark-signature is not hex"))?;
        let key = self
            .matching(&signature, &[timestamp, nonce], request.body)
            .ok_or_else(Rejection::wrong_signature)?;
        self.fresh(timestamp, now)?;

        let outer = Envelope::read(request.body)
            .ok_or_else(|| Rejection::invalid("the body is not a JSON object"))?;
        let plaintext;
        let content = match outer.encrypt.get() {
            None => outer,
            Some(encrypt) => {
                plaintext = envelope::decrypt(encrypt, &key.decryption)
                    .ok_or_else(|| Rejection::invalid("`encrypt` cannot be decrypted"))?;
                Envelope::read(&plaintext)
                    .ok_or_else(|| Rejection::invalid("`encrypt` does not hold a JSON object"))?
            }
        };
        if let Some(handshake) = content.handshake() {
            return Ok(accept(&handshake, Some(key.place)));
        }
        self.settle(&content, Some(key.place), Some(signature.as_bytes()), now)
    }

    fn check_unsigned(
        &self,
        request: &Request<'_>,
        now: Duration,
    ) -> Option<Result<Accepted, Rejection>> {
        if self.keys.is_empty() {
            self.check_token(request, now)
        } else {
            self.check_handshake(request.body).map(Ok)
        }
    }
}

/// What Feishu sends with an event; `id` is the nonce.
pub(super) fn sign(
    encrypt_key: &str,
    at_unix_s: u64,
    id: &str,
    body: &[u8],
) -> Vec<(String, String)> {
    let timestamp = at_unix_s.to_string();
    let digest = digest(&[timestamp.as_bytes(), id.as_bytes()], encrypt_key, body);
    vec![
        ("X-Lark-Request-Timestamp".to_owned(), timestamp),
        ("X-Lark-Request-Nonce".to_owned(), id.to_owned()),
        (
            "X-Lark-Signature".to_owned(),
            base16ct::lower::encode_string(&digest),
        ),
    ]
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
        answer: answer(body.to_string().into_bytes()),
    }
}

fn answer(body: Vec<u8>) -> PlatformAnswer {
    PlatformAnswer {
        status: 200,
        content_type: JSON,
        body,
    }
}

#[cfg(test)]
mod tests;
