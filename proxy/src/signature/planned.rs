//! Schemes that are not in this version yet, with their names and keys: a route with one of them is an error, since it
//! would be open. A scheme that is built gets its own file and loses its line in [`super::schemes`].

use serde_json::{Value, json};

use super::scheme::{Built, RawScheme, SchemeEntry, SchemeSettings};
use crate::settings::declare::{choice, settings};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::List;
use crate::settings::node::FilePosition;
use crate::settings::values::{MaybeEmptyText, PlainText, SecretText, pattern};

/// A scheme that is not in this version.
pub(crate) struct Planned {
    pub(crate) name: &'static str,
    pub(crate) platform: Option<&'static str>,
    pub(crate) settings: SchemeSettings,
}

impl Planned {
    const fn of<T: crate::settings::declare::Settings + RawScheme + 'static>(
        name: &'static str,
        platform: Option<&'static str>,
    ) -> Self {
        Planned {
            name,
            platform,
            settings: SchemeSettings::of::<T>(),
        }
    }

    /// One that takes secrets and nothing else.
    pub(super) const fn secrets(name: &'static str, platform: Option<&'static str>) -> Self {
        Planned::of::<SecretsAlone>(name, platform)
    }
}

pub(super) static FEISHU_CARD: Planned =
    Planned::of::<SecretsOrToken>("feishu_card", Some("feishu"));
pub(super) static DINGTALK_EVENT: Planned =
    Planned::of::<Encrypted>("dingtalk_event", Some("dingtalk"));
pub(super) static WECOM: Planned = Planned::of::<Encrypted>("wecom", Some("wecom"));
pub(super) static DISCORD: Planned = Planned::of::<PublicKeys>("discord", Some("discord"));
pub(super) static META: Planned = Planned::of::<SecretsAndToken>("meta", Some("whatsapp"));
pub(super) static HTTP_MESSAGE_SIGNATURES: Planned =
    Planned::of::<MessageKeys>("http_message_signatures", None);

settings! {
    /// Secrets.
    struct SecretsAlone {
        /// Secrets; any of them is valid, for rotation.
        secrets: List<SecretText, 1> [guard] reload,
    }
}

settings! {
    /// Secrets or a token.
    struct SecretsOrToken {
        /// Encrypt keys; any of them is valid, for rotation.
        secrets: List<SecretText, 1> [guard] reload,
        /// The token of the platform's console.
        verification_token: SecretText [optional] reload,
    }
}

settings! {
    /// Secrets and a token.
    struct SecretsAndToken {
        /// App secrets; any of them is valid, for rotation.
        secrets: List<SecretText, 1> [guard] reload,
        /// The token of the platform's console.
        verification_token: SecretText [optional] reload,
    }
}

settings! {
    /// Tokens, and the key of what is encrypted.
    struct Encrypted {
        /// Tokens; any of them is valid, for rotation.
        secrets: List<SecretText, 1> [guard] reload,
        /// dingtalk_event, wecom: 43 characters.
        aes_key: AesKey [guard] reload,
        /// dingtalk_event, wecom: app key, corp id or suite id; may be empty.
        owner: MaybeEmptyText [optional] reload,
    }
}

settings! {
    /// Public keys.
    struct PublicKeys {
        /// discord: the application's public keys.
        public_keys: List<PublicKey, 1> [guard] reload,
    }
}

settings! {
    /// HTTP message signatures (RFC 9421).
    struct MessageKeys {
        /// http_message_signatures: the keys of signers.
        keys: List<MessageKey, 1> [guard] reload,
        /// http_message_signatures: the components that must be covered.
        components: List<PlainText, 1> [guard] reload,
    }
}

settings! {
    /// A key of HTTP message signatures (RFC 9421).
    struct MessageKey {
        /// The keyid.
        id: PlainText [required] reload,
        /// Its algorithm.
        algorithm: MessageAlgorithm [required] reload,
        /// The secret or public key.
        key: SecretText [required] reload,
    }
}

choice! {
    /// RFC 9421, section 3.3.
    enum MessageAlgorithm {
        HmacSha256 = "hmac-sha256",
        Ed25519 = "ed25519",
    }
}

/// Reports what each of them requires; the entry reports that this version does not support it.
macro_rules! not_yet {
    ($($settings:ident: |$raw:ident, $need:ident| $needs:block)+) => {
        $(
            impl RawScheme for $settings {
                fn check(&self, entry: &SchemeEntry<'_>, diagnostics: &mut Diagnostics) -> Option<Built> {
                    let $raw = self;
                    let mut $need = |is_absent: bool, what: &str| {
                        entry.need(!is_absent, what, diagnostics);
                    };
                    $needs
                    None
                }

                fn written(&self) -> Vec<(&'static str, FilePosition)> {
                    crate::settings::declare::Settings::written(self)
                }
            }
        )+
    };
}

not_yet! {
    SecretsAlone: |raw, need| {
        need(raw.secrets.is_absent(), "`secrets`");
    }
    SecretsOrToken: |raw, need| {
        let is_absent = raw.secrets.is_absent() && raw.verification_token.is_absent();
        need(is_absent, "`secrets` (encrypt keys) or a `verification_token`");
    }
    SecretsAndToken: |raw, need| {
        need(raw.secrets.is_absent(), "`secrets`");
        need(raw.verification_token.is_absent(), "a `verification_token`");
    }
    Encrypted: |raw, need| {
        need(raw.secrets.is_absent(), "`secrets`");
        need(raw.aes_key.is_absent(), "an `aes_key`");
    }
    PublicKeys: |raw, need| {
        need(raw.public_keys.is_absent(), "`public_keys`");
    }
    MessageKeys: |raw, need| {
        need(raw.keys.is_absent(), "`keys`");
    }
}

/// 32 bytes in base64 without its padding.
pub(crate) struct AesKey;

impl FromScalar for AesKey {
    const SECRET: bool = true;

    fn expected() -> String {
        "an AES key of 43 letters and digits, as the platform's console shows it".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
        if text.len() == 43 && text.bytes().all(is_base64) {
            return Ok(AesKey);
        }
        Err(Invalid::Unexpected)
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 43, "maxLength": 43})
    }
}

/// An Ed25519 public key.
pub(crate) struct PublicKey;

impl FromScalar for PublicKey {
    fn expected() -> String {
        "a public key of 64 hex digits".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(PublicKey);
        }
        Err(Invalid::Unexpected)
    }

    fn schema() -> Value {
        pattern("^[0-9a-fA-F]{64}$")
    }
}
