//! HMAC (RFC 2104) with a precomputed key state: a check costs only the hash of the message.

use ::hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::template::{Template, Values};
use crate::settings::declare::choice;

choice! {
    /// The hash function of an HMAC.
    enum Algorithm {
        Sha1 = "sha1",
        Sha256 = "sha256",
        Sha512 = "sha512",
    }
}

/// The state of an HMAC with its key. The key cannot be read back, and there is no `Debug`.
pub(super) enum KeyedHmac {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Box<Hmac<Sha512>>),
}

impl KeyedHmac {
    /// `None` never happens: HMAC takes keys of every length.
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Sha1 => KeyedHmac::Sha1(Hmac::new_from_slice(key).ok()?),
            Algorithm::Sha256 => KeyedHmac::Sha256(Hmac::new_from_slice(key).ok()?),
            Algorithm::Sha512 => KeyedHmac::Sha512(Box::new(Hmac::new_from_slice(key).ok()?)),
        })
    }

    pub(super) fn tag(&self, template: &Template, values: &Values<'_>) -> Tag {
        match self {
            KeyedHmac::Sha1(mac) => run(mac.clone(), template, values),
            KeyedHmac::Sha256(mac) => run(mac.clone(), template, values),
            KeyedHmac::Sha512(mac) => run(mac.as_ref().clone(), template, values),
        }
    }
}

/// The tag of a message.
pub(super) struct Tag {
    bytes: [u8; 64],
    length: usize,
}

impl Tag {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// In constant time for equal lengths; the length of a tag is no secret.
    pub(super) fn equals(&self, other: &[u8]) -> bool {
        self.as_bytes().ct_eq(other).into()
    }
}

fn run<M: Mac>(mut mac: M, template: &Template, values: &Values<'_>) -> Tag {
    template.feed(values, |piece| mac.update(piece));
    let output = mac.finalize().into_bytes();
    let length = output.len();
    let mut bytes = [0; 64];
    bytes[..length].copy_from_slice(&output);
    Tag { bytes, length }
}
