//! The fields of a Feishu body that matter: `encrypt`, the handshake's fields, tokens and ids.
//!
//! Everything else is skipped without being kept, at any depth, so that a hostile body costs
//! neither memory nor stack. A body that is not a JSON object is not from Feishu.

use std::borrow::Cow;

use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

const BLOCK_BYTES: usize = 16;

/// The fields of both versions of an event and of `url_verification`.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) encrypt: EnvelopeText<'a>,
    #[serde(borrow, default)]
    challenge: EnvelopeText<'a>,
    #[serde(borrow, default)]
    token: EnvelopeText<'a>,
    #[serde(borrow, default, rename = "type")]
    kind: EnvelopeText<'a>,
    #[serde(borrow, default)]
    schema: EnvelopeText<'a>,
    #[serde(borrow, default)]
    uuid: EnvelopeText<'a>,
    #[serde(borrow, default)]
    header: Header<'a>,
}

/// Of version 2.
#[derive(Default, Deserialize)]
struct Header<'a> {
    #[serde(borrow, default)]
    event_id: EnvelopeText<'a>,
    #[serde(borrow, default)]
    token: EnvelopeText<'a>,
}

/// The check of an address when it is saved in Feishu's console.
pub(super) struct Handshake<'a> {
    pub(super) challenge: &'a str,
    pub(super) token: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// `None` for what is no JSON object, or has one of the fields twice.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        if body.trim_ascii_start().first() != Some(&b'{') {
            return None;
        }
        serde_json::from_slice(body).ok()
    }

    pub(super) fn handshake(&self) -> Option<Handshake<'_>> {
        if self.kind.get() != Some("url_verification") {
            return None;
        }
        Some(Handshake {
            challenge: self.challenge.get()?,
            token: self.token.get(),
        })
    }

    /// The verification token: in the header of version 2, next to the event in version 1.
    pub(super) fn token(&self) -> Option<&str> {
        match self.schema.get() {
            Some(_) => self.header.token.get(),
            None => self.token.get(),
        }
    }

    /// The id of a delivery, the same when Feishu sends it again.
    pub(super) fn delivery_id(&self) -> Option<&str> {
        match self.schema.get() {
            Some(_) => self.header.event_id.get(),
            None => self.uuid.get(),
        }
        .filter(|id| !id.is_empty())
    }
}

/// The AES key that belongs to an encrypt key.
pub(super) fn decryption_key(encrypt_key: &str) -> [u8; 32] {
    Sha256::digest(encrypt_key).into()
}

/// AES-256-CBC with strict PKCS#7; the first block of the decoded text is the IV. `None` for
/// whatever cannot have been made with this key. The plaintext is shorter than `encrypt`.
pub(super) fn decrypt(encrypt: &str, key: &[u8; 32]) -> Option<Vec<u8>> {
    let mut bytes = STANDARD.decode(encrypt).ok()?;
    let (iv, ciphertext) = bytes.split_at_mut_checked(BLOCK_BYTES)?;
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(key, iv).ok()?;
    let length = cipher.decrypt_padded::<Pkcs7>(ciphertext).ok()?.len();
    bytes.truncate(BLOCK_BYTES + length);
    bytes.drain(..BLOCK_BYTES);
    Some(bytes)
}

/// A JSON string, borrowed where it has no escapes; anything else counts as not there.
#[derive(Default)]
pub(super) struct EnvelopeText<'a>(Option<Cow<'a, str>>);

impl EnvelopeText<'_> {
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for EnvelopeText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = EnvelopeText<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(EnvelopeText(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(EnvelopeText(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(EnvelopeText(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(EnvelopeText(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(EnvelopeText(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(EnvelopeText(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(EnvelopeText(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(EnvelopeText(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Self::Value, A::Error> {
        while values.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(EnvelopeText(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_json_is_refused_or_skipped_without_harm() {
        let deep = 200_000;
        let nested = [
            format!("{{\"event\":{}{}}}", "[".repeat(deep), "]".repeat(deep)),
            format!("{{\"token\":{}{}}}", "[".repeat(deep), "]".repeat(deep)),
            format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(deep), "}".repeat(deep)),
            "{\"event\":".to_owned() + &"[".repeat(deep),
            "[".repeat(deep),
            "{\"header\":".repeat(deep),
        ];
        for body in nested {
            // Only the round trip matters here.
            let token = Envelope::read(body.as_bytes()).map(|read| read.token().is_some());
            assert_ne!(token, Some(true));
        }
        for body in [
            "",
            "null",
            "[]",
            r#"["a","b","c","url_verification"]"#,
            r#"{"token":"a","token":"b"}"#,
            "{\"token\":\"\u{1}\"}",
            r#"{"token":"a"} x"#,
            r#"{"token":"\ud800"}"#,
        ] {
            assert!(Envelope::read(body.as_bytes()).is_none(), "{body:?}");
        }
        assert!(Envelope::read(b"{\"token\":\"\xff\"}").is_none());
    }

    #[test]
    fn fields_of_another_type_count_as_not_there() {
        for value in ["1", "-1", "1.5", "true", "null", "[1,[2]]", "{\"a\":{}}"] {
            let body = format!(r#"{{"token":{value},"uuid":"u\u002f1"}}"#);
            let envelope = Envelope::read(body.as_bytes()).expect("an object");
            assert_eq!(envelope.token(), None, "{value}");
            assert_eq!(envelope.delivery_id(), Some("u/1"));
        }
    }

    #[test]
    fn ciphertexts_that_this_key_cannot_have_made_are_none() {
        let key = decryption_key("test key");
        let official = "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=";
        assert_eq!(
            decrypt(official, &key).as_deref(),
            Some(&b"hello world"[..])
        );
        assert_eq!(decrypt(official, &decryption_key("test kez")), None);
        for encoded_bytes in [0, 1, 15, 16, 17, 31, 33, 47] {
            let text = STANDARD.encode(vec![7; encoded_bytes]);
            assert_eq!(decrypt(&text, &key), None, "{encoded_bytes} bytes");
        }
        for text in [
            "",
            "=",
            "P37w",
            "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk",
            "\u{4e16}",
        ] {
            assert_eq!(decrypt(text, &key), None, "{text:?}");
        }
        let mut broken = STANDARD.decode(official).expect("base64");
        broken[31] ^= 1;
        assert_eq!(decrypt(&STANDARD.encode(&broken), &key), None);
    }
}
