//! Invalidation by unsafe methods (RFC 9111, section 4.4): the URIs that `Location` and `Content-Location` name, where they
//! are of the same host, and which URIs were invalidated while a response to an older request was on its way.

use std::num::NonZeroUsize;
use std::time::Instant;

use lru::LruCache;

use super::super::CacheKey;
use super::key::ResourceName;

/// How many invalidated URIs are remembered.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("is not zero");

/// When URIs were last invalidated.
pub(super) struct Invalidations {
    by_key: LruCache<CacheKey, Instant>,
    /// The time of the last one that is not remembered any more: whatever is older may have been invalidated.
    forgotten: Option<Instant>,
}

impl Invalidations {
    pub(super) fn new() -> Self {
        Invalidations {
            by_key: LruCache::new(KEYS_MAX),
            forgotten: None,
        }
    }

    pub(super) fn note(&mut self, key: CacheKey, now: Instant) {
        if let Some((other, at)) = self.by_key.push(key, now)
            && other != key
        {
            self.forgotten = self.forgotten.max(Some(at));
        }
    }

    /// Whether a URI may have been invalidated after a request at `asked_at` had arrived.
    pub(super) fn may_be_since(&self, key: &CacheKey, asked_at: Instant) -> bool {
        let known = self.by_key.peek(key).copied();
        known.max(self.forgotten).is_some_and(|at| at >= asked_at)
    }
}

/// Path and query of a reference, resolved against the request's own URI (RFC 3986, section 5); `None` if it is of
/// another host.
pub(super) fn target(base: &ResourceName<'_>, reference: &str) -> Option<(String, String)> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (path, query) = match reference.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, target) = rest.split_at(end);
            let is_same = authority.as_bytes().eq_ignore_ascii_case(base.host);
            split(if is_same { target } else { return None })
        }
        _ => match reference.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, target) = rest.split_at(end);
                if !authority.as_bytes().eq_ignore_ascii_case(base.host) {
                    return None;
                }
                split(target)
            }
            None => split(reference),
        },
    };
    let absolute = match path {
        "" => base.path.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        relative => {
            let folder = base.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{relative}")
        }
    };
    Some((without_dots(&absolute), query.to_owned()))
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => {
                segments.push(segment);
                continue;
            }
        }
        if is_last {
            segments.push("");
        }
    }
    let mut joined = String::with_capacity(path.len());
    for segment in segments {
        joined.push('/');
        joined.push_str(segment);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidation_is_known_until_too_many_others_follow_and_then_suspected() {
        let begun = crate::clock::now();
        let at = |second| begun + std::time::Duration::from_secs(second);
        let key = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_ne_bytes());
            CacheKey(key)
        };
        let mut invalidations = Invalidations::new();
        invalidations.note(key(0), at(1));
        assert!(invalidations.may_be_since(&key(0), at(1)));
        assert!(!invalidations.may_be_since(&key(0), at(2)));
        assert!(!invalidations.may_be_since(&key(1), at(0)));
        for number in 1..=KEYS_MAX.get() {
            invalidations.note(key(number), at(3));
        }
        assert!(invalidations.may_be_since(&key(0), at(1)));
        assert!(!invalidations.may_be_since(&key(0), at(2)));
        // A key that is invalidated again forgets no other one.
        invalidations.note(key(KEYS_MAX.get()), at(4));
        assert!(!invalidations.may_be_since(&key(0), at(2)));
    }
}
