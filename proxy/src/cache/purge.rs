//! Purging: responses that are removed by hand.
//!
//! The admin API, and other replicas through Redis, name them by the name of a route and by a key. A response whose
//! request arrived before the purge is not stored after it: the memory compares the times under its lock.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::str::FromStr;
use std::sync::Arc;

use crate::exchange::CacheKeyId;

/// Which responses are purged: all that these have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeRequest {
    /// The name of a route; `None`: every route.
    pub route: Option<String>,
    /// A valid [`PurgeTarget`]; `None`: every key.
    pub key: Option<String>,
}

/// Why responses were not purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeError {
    /// No route of this name has a cache.
    UnknownRoute {
        name: String,
        /// The routes with a cache.
        known: Vec<Arc<str>>,
    },
    /// This process has purged its memory; Redis, or other replicas, may still have the responses.
    Incomplete { reason: String },
}

impl fmt::Display for PurgeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PurgeError::UnknownRoute { name, known } => {
                write!(formatter, "no route `{name}` has a cache")?;
                match &known[..] {
                    [] => formatter.write_str(", nor has any other route"),
                    known => write!(formatter, "; routes with a cache: {}", known.join(", ")),
                }
            }
            PurgeError::Incomplete { reason } => write!(
                formatter,
                "the memory of this process is purged, but Redis and other replicas may still have the responses: \
                 {reason}; once this is solved, send the request again",
            ),
        }
    }
}

/// What is purged in the cache of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PurgeTarget {
    All,
    /// The response whose key begins with these bytes.
    Key(CacheKeyId),
    /// The responses of an HTTP cache to requests for this path, whatever their queries are.
    Path(PathHash),
}

/// The hash of a path, which responses of an HTTP cache are stored with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathHash(u64);

impl PathHash {
    /// Of a canonical path, without a query.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        PathHash(hasher.finish())
    }
}

/// A text that is neither a key nor a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTarget;

impl fmt::Display for InvalidTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "key must be the 32 hexadecimal digits of weir.cache.key in an event, or the path of responses of \
             an HTTP cache, which begins with / and has no query",
        )
    }
}

impl FromStr for PurgeTarget {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if text.starts_with('/') {
            return match text.contains(['?', '#']) {
                true => Err(InvalidTarget),
                false => Ok(PurgeTarget::Path(PathHash::of(text))),
            };
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
        let path = PurgeTarget::Path(PathHash::of("/a.css"));
        assert_eq!("/a.css".parse(), Ok(path));
        let long = "0".repeat(64);
        for invalid in [
            "",
            "/a.css?v=1",
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
