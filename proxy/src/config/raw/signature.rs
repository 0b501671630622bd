//! `signature` of a route. Which of the keys go with which scheme is checked later: here each is
//! known, so that a key of another scheme gets a better answer than "unknown".

use http::HeaderName;
use serde_json::{Value, json};

use crate::settings::declare::{choice, settings};
use crate::settings::decode::{Scalar, Wrong};
use crate::settings::lists::List;
use crate::settings::values::{MaybeEmptyText, Name, Secret, Text, Time};

settings! {
    /// How a request proves whom it is from.
    struct Signature {
        /// Which rules it follows.
        scheme: Scheme [required],
        /// Any of them is good, for rotation; with hmac and bearer short for one client, named after the route.
        secrets: List<Secret, 1> [guard],
        /// hmac, bearer: who may call.
        clients: List<Client, 1> [guard],
        /// How old, or how far ahead, a timestamp may be; 300s by default, 8h with feishu.
        tolerance: Time [optional],
        /// How long an id or signature is refused once seen; 10m by default, 8h with feishu; 0s: off.
        replay: Time<0> [optional],
        /// feishu, feishu_card, meta: the token of the platform's console.
        verification_token: Secret [optional],
        /// dingtalk_event, wecom: 43 characters.
        aes_key: AesKey [guard],
        /// dingtalk_event, wecom: app key, corp id or suite id; may be empty.
        owner: MaybeEmptyText [optional],
        /// discord: the application's public keys.
        public_keys: List<PublicKey, 1> [guard],
        /// hmac: the header that names the client.
        key_header: HeaderName [default "X-Weir-Key"],
        /// hmac: the header with the time in unix seconds.
        timestamp_header: HeaderName [default "X-Weir-Timestamp"],
        /// hmac: the header with an id that is never used twice.
        id_header: HeaderName [default "X-Weir-Id"],
        /// hmac: the header with the signature.
        signature_header: HeaderName [default "X-Weir-Signature"],
        /// hmac: what stands before the signature itself.
        prefix: MaybeEmptyText [default "v1="],
        /// hmac: what is signed, of {timestamp}, {id}, {body}, {method}, {path}, {query} and text.
        signed: Text [default "'{timestamp}.{id}.{body}'"],
        /// hmac: the hash below it.
        algorithm: Algorithm [default "sha256"],
        /// hmac: how secrets are written.
        key_encoding: KeyEncoding [default "raw"],
        /// hmac: how the signature is written.
        signature_encoding: SignatureEncoding [default "hex"],
        /// http_message_signatures: who may sign.
        keys: List<MessageKey, 1> [guard],
        /// http_message_signatures: what must be covered.
        components: List<Text, 1> [guard],
    }
}

settings! {
    /// A caller, and its secrets.
    struct Client {
        /// The client of limits, cache scope and events.
        name: Name [required],
        /// Any of them is good, for rotation.
        secrets: List<Secret, 1> [required],
    }
}

settings! {
    /// A key of HTTP message signatures (RFC 9421).
    struct MessageKey {
        /// The keyid.
        id: Text [required],
        /// What it is used with.
        algorithm: MessageAlgorithm [required],
        /// The secret or public key.
        key: Secret [required],
    }
}

choice! {
    /// The rules a signature follows.
    enum Scheme {
        Hmac = "hmac",
        Bearer = "bearer",
        Feishu = "feishu",
        FeishuCard = "feishu_card",
        Dingtalk = "dingtalk",
        DingtalkEvent = "dingtalk_event",
        Wecom = "wecom",
        Slack = "slack",
        Telegram = "telegram",
        Discord = "discord",
        Github = "github",
        Stripe = "stripe",
        StandardWebhooks = "standard_webhooks",
        Line = "line",
        Meta = "meta",
        SimpleSha256 = "simple_sha256",
        HttpMessageSignatures = "http_message_signatures",
    }
}

choice! {
    /// The hash below an HMAC.
    enum Algorithm {
        Sha1 = "sha1",
        Sha256 = "sha256",
        Sha512 = "sha512",
    }
}

choice! {
    /// How a secret is written.
    enum KeyEncoding {
        Raw = "raw",
        Hex = "hex",
        Base64 = "base64",
    }
}

choice! {
    /// How a signature is written.
    enum SignatureEncoding {
        Hex = "hex",
        Base64 = "base64",
    }
}

choice! {
    /// RFC 9421, section 3.3.
    enum MessageAlgorithm {
        HmacSha256 = "hmac-sha256",
        Ed25519 = "ed25519",
    }
}

/// 32 bytes in base64 without its padding.
pub(crate) struct AesKey;

impl Scalar for AesKey {
    const SECRET: bool = true;

    fn expected() -> String {
        "an AES key of 43 letters and digits, as the platform's console shows it".to_owned()
    }

    fn read(text: &str) -> Result<Self, Wrong> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        if text.len() == 43 && text.bytes().all(is_base64) {
            return Ok(AesKey);
        }
        Err(Wrong::Unexpected)
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 43, "maxLength": 43})
    }
}

/// An Ed25519 public key.
pub(crate) struct PublicKey;

impl Scalar for PublicKey {
    fn expected() -> String {
        "a public key of 64 hex digits".to_owned()
    }

    fn read(text: &str) -> Result<Self, Wrong> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(PublicKey);
        }
        Err(Wrong::Unexpected)
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"})
    }
}
