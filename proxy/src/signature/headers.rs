//! Reading credentials from headers: a single value, a timestamp, bytes.
//!
//! Header values are used as received, without trimming or changing their case.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::{HeaderMap, HeaderName};

use super::rejection::SignatureRejection;
use crate::settings::declare::choice;

choice! {
    /// How a signature is written.
    enum SignatureEncoding {
        Hex = "hex",
        Base64 = "base64",
    }
}

/// Digits of `u64::MAX`; a longer text is no timestamp.
const TIMESTAMP_DIGITS_MAX: usize = 20;

/// The longest signature (SHA-512) and the slack that the base64 decoder needs.
const SIGNATURE_BYTES_MAX: usize = 96;

/// Checks that all of `names` are present, valid or not.
pub(super) fn all_there(
    headers: &HeaderMap,
    names: &[HeaderName],
) -> Result<(), SignatureRejection> {
    if names.iter().all(|name| headers.contains_key(name)) {
        return Ok(());
    }
    let absent: Vec<&str> = names
        .iter()
        .filter(|name| !headers.contains_key(*name))
        .map(HeaderName::as_str)
        .collect();
    Err(SignatureRejection::missing(format!(
        "the request lacks {}",
        absent.join(", ")
    )))
}

/// The only value of a header, not empty. A second value is rejected: another reader might use it, unchecked.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<&'a [u8], SignatureRejection> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value.as_bytes()),
        (Some(_), None) => Err(SignatureRejection::invalid(format!("{name} is empty"))),
        (Some(_), Some(_)) => Err(SignatureRejection::invalid(format!(
            "{name} has more than one value; send one"
        ))),
        (None, _) => Err(SignatureRejection::missing(format!(
            "the request lacks {name}"
        ))),
    }
}

/// Whole Unix seconds, decimal digits only.
pub(super) fn unix_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > TIMESTAMP_DIGITS_MAX || !text.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// Checks that a timestamp differs from `now` by at most `tolerance`, in whole seconds, in both directions.
pub(super) fn fresh(
    timestamp_s: u64,
    now: Duration,
    tolerance: Duration,
) -> Result<(), SignatureRejection> {
    let now_s = now.as_secs();
    let apart_s = now_s.abs_diff(timestamp_s);
    if Duration::from_secs(apart_s) <= tolerance {
        return Ok(());
    }
    let side = if timestamp_s < now_s {
        "old"
    } else {
        "ahead of this clock"
    };
    Err(SignatureRejection::expired(format!(
        "the timestamp is {apart_s} s {side}; {} s are allowed",
        tolerance.as_secs()
    )))
}

/// The bytes of a signature, decoded without allocating.
pub(super) struct Decoded {
    bytes: [u8; SIGNATURE_BYTES_MAX],
    length: usize,
}

impl Decoded {
    /// Hex in either case; base64 with padding, in the standard or the URL-safe alphabet. `None`
    /// for everything else.
    pub(super) fn read(text: &[u8], encoding: SignatureEncoding) -> Option<Self> {
        let mut bytes = [0; SIGNATURE_BYTES_MAX];
        let length = match encoding {
            SignatureEncoding::Hex => {
                let length = text.len() / 2;
                base16ct::mixed::decode(text, bytes.get_mut(..length)?).ok()?;
                length
            }
            SignatureEncoding::Base64 => STANDARD
                .decode_slice(text, &mut bytes)
                .or_else(|_| URL_SAFE.decode_slice(text, &mut bytes))
                .ok()?,
        };
        Some(Decoded { bytes, length })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_digits_and_nothing_else() {
        assert_eq!(unix_seconds(b"1700000000"), Some(1_700_000_000));
        assert_eq!(unix_seconds(b"0"), Some(0));
        assert_eq!(unix_seconds(b"18446744073709551615"), Some(u64::MAX));
        for text in [
            "",
            "12e8",
            "161426533.0",
            "-1",
            "+5",
            " 5",
            "5 ",
            "0x10",
            "18446744073709551616",
            "000000000000000000001",
            "\u{0665}",
            "1_000",
        ] {
            assert_eq!(unix_seconds(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_window_is_as_wide_in_both_directions_and_holds_its_edges() {
        let tolerance = Duration::from_secs(300);
        let now = Duration::from_millis(1_700_000_000_900);
        for timestamp_s in [1_699_999_700, 1_700_000_000, 1_700_000_300] {
            assert!(fresh(timestamp_s, now, tolerance).is_ok(), "{timestamp_s}");
        }
        for timestamp_s in [0, 1_699_999_699, 1_700_000_301, u64::MAX] {
            assert!(fresh(timestamp_s, now, tolerance).is_err(), "{timestamp_s}");
        }
        assert!(fresh(u64::MAX, Duration::ZERO, Duration::MAX).is_ok());
    }

    #[test]
    fn signatures_are_read_in_both_cases_and_both_alphabets() {
        let read = |text: &str, encoding| {
            Decoded::read(text.as_bytes(), encoding).map(|decoded| decoded.as_bytes().to_vec())
        };
        assert_eq!(read("fbEF", SignatureEncoding::Hex), Some(vec![0xfb, 0xef]));
        assert_eq!(
            read("++8=", SignatureEncoding::Base64),
            Some(vec![0xfb, 0xef])
        );
        assert_eq!(
            read("--8=", SignatureEncoding::Base64),
            Some(vec![0xfb, 0xef])
        );
        for text in ["f", "fg", "0xff", " ff", "\u{00e9}"] {
            assert_eq!(read(text, SignatureEncoding::Hex), None, "{text:?}");
        }
        assert_eq!(read(&"a".repeat(10_000), SignatureEncoding::Hex), None);
        for text in ["++8", "++9=", "+ 8=", "===="] {
            assert_eq!(read(text, SignatureEncoding::Base64), None, "{text:?}");
        }
        assert_eq!(read(&"a".repeat(10_000), SignatureEncoding::Base64), None);
        // The longest signature there is.
        let sha512 = STANDARD.encode([7; 64]);
        assert_eq!(read(&sha512, SignatureEncoding::Base64), Some(vec![7; 64]));
    }
}
