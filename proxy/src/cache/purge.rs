//! Purging: responses that are removed by hand.
//!
//! The admin API, and other replicas through Redis, name them by the name of a route and by a key. A response whose
//! request arrived before the purge is not stored after it: the memory compares the times under its lock.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::exchange::CacheKeyId;

mod path;
mod position;

pub use path::PathHash;
pub use position::{InvalidPosition, PurgePosition};

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
    /// The responses of an HTTP cache to requests for this path, whatever their queries and hosts are.
    Path(PathHash),
}

/// A text that is neither a key nor a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTarget;

impl fmt::Display for InvalidTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "key must be the 32 hexadecimal digits of weir.cache.key in an event, or the path or URL of responses of \
             an HTTP cache",
        )
    }
}

impl FromStr for PurgeTarget {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if let Some(path) = path_of(text) {
            return Ok(PurgeTarget::Path(PathHash::of(path)));
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

/// The path that a text begins with, also behind the scheme and the host of a URL.
fn path_of(text: &str) -> Option<&str> {
    if text.starts_with('/') {
        return Some(text);
    }
    let (scheme, rest) = text.split_once("://")?;
    let is_http = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    is_http.then_some(&rest[end..])
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
        for spelling in [
            "/a.css",
            "/a.css?v=1",
            "https://a.test:8443/a.css",
            "HTTP://a/a.css#top",
        ] {
            assert_eq!(spelling.parse(), Ok(path.clone()), "{spelling}");
        }
        let root = PurgeTarget::Path(PathHash::of("/"));
        assert_eq!("http://a.test".parse(), Ok(root));
        let long = "0".repeat(64);
        for invalid in [
            "",
            "a.css",
            "ftp://a/a.css",
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
