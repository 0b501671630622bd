//! Purging: which responses of a cache are removed by hand.

use std::fmt;
use std::str::FromStr;

use crate::exchange::CacheKeyId;

/// What is purged in the cache of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeTarget {
    All,
    /// The response whose key begins with these bytes.
    Key(CacheKeyId),
    /// The responses of an HTTP cache to requests for this path, with all its queries unless it has one.
    Path(Box<str>),
}

/// A text that is neither a key nor a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTarget;

impl fmt::Display for InvalidTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "key must be the 32 hexadecimal digits of weir.cache.key in an event, or the path of a response of an \
             HTTP cache, which begins with /",
        )
    }
}

impl FromStr for PurgeTarget {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if text.starts_with('/') {
            return Ok(PurgeTarget::Path(text.into()));
        }
        let mut prefix = CacheKeyId::default();
        if text.len() != 2 * prefix.len() {
            return Err(InvalidTarget);
        }
        let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
        let digits = digits.ok_or(InvalidTarget)?;
        for (byte, pair) in prefix.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
        Ok(PurgeTarget::Key(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_key_or_a_path() {
        let key = "00ff10aB000000000000000000000001";
        let mut bytes = CacheKeyId::default();
        (bytes[1], bytes[2], bytes[3], bytes[15]) = (0xff, 0x10, 0xab, 1);
        assert_eq!(key.parse(), Ok(PurgeTarget::Key(bytes)));
        let path = PurgeTarget::Path("/a.css?v=1".into());
        assert_eq!("/a.css?v=1".parse(), Ok(path));
        let long = "0".repeat(64);
        for invalid in [
            "",
            "00",
            &key[1..],
            &long,
            "00ff10ab00000000000000000000000g",
            "é",
        ] {
            assert_eq!(
                invalid.parse::<PurgeTarget>(),
                Err(InvalidTarget),
                "{invalid}"
            );
        }
        let wide = "é".repeat(16);
        assert_eq!(wide.parse::<PurgeTarget>(), Err(InvalidTarget));
    }
}
