//! What every scheme is, and the list of them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::delivery::{Delivery, Repeat};
use super::memory::Memory;
use super::{Config, PlatformAnswer, Request, SchemeConfig};
use super::{bearer, feishu, hmac, simple_sha256};
use crate::exchange::SignatureOutcome;

/// One way to sign. All checks are over the raw request; nothing is changed.
pub(super) trait Scheme: Send + Sync {
    fn name(&self) -> &'static str;

    /// Whether the header that carries this scheme's credential is there, good or bad: then this
    /// scheme decides.
    fn is_addressed(&self, headers: &HeaderMap) -> bool;

    /// What a signed request carries, for the person who sent an unsigned one.
    fn wanted(&self) -> &str;

    fn covers_body(&self) -> bool;

    /// Headers whose credential was for weir itself.
    fn withheld_headers(&self) -> &[HeaderName] {
        &[]
    }

    /// Headers that only show that a request is what it says, and that go on: once they have been checked,
    /// they are no part of what is asked.
    fn verified_headers(&self) -> &[HeaderName] {
        &[]
    }

    /// What a 401 names it by (RFC 9110, section 11.6.1).
    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// What a wrong credential is called, where that is no signature.
    fn invalid_title(&self) -> Option<&'static str> {
        None
    }

    /// In this order: what is missing, what is malformed, the signature, its age, replay.
    fn check(&self, request: &Request<'_>, now: Duration) -> Result<Accepted, Rejection>;

    /// For platforms that send some requests without any header of theirs. `None`: it is not for
    /// this scheme.
    fn check_unsigned(
        &self,
        _request: &Request<'_>,
        _now: Duration,
    ) -> Option<Result<Accepted, Rejection>> {
        None
    }
}

/// Who signed: a client, and which of its secrets, counted from 0.
#[derive(Debug)]
pub(super) struct SignedBy {
    pub(super) client: Arc<str>,
    pub(super) key: Option<usize>,
}

/// A request that is what it says.
#[derive(Debug)]
pub(super) enum Accepted {
    Valid {
        by: SignedBy,
        /// Where the platform sends again what was not taken.
        delivery: Option<Delivery>,
    },
    Handshake {
        key: Option<usize>,
        answer: PlatformAnswer,
    },
    Duplicate {
        by: SignedBy,
        /// While the first one is in hand.
        repeat: Option<Repeat>,
        answer: PlatformAnswer,
    },
}

/// A request that is not.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) outcome: SignatureOutcome,
    pub(super) detail: Cow<'static, str>,
}

impl Rejection {
    pub(super) fn missing(detail: impl Into<Cow<'static, str>>) -> Self {
        Rejection {
            outcome: SignatureOutcome::Missing,
            detail: detail.into(),
        }
    }

    pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Rejection {
            outcome: SignatureOutcome::Invalid,
            detail: detail.into(),
        }
    }

    pub(super) fn expired(detail: impl Into<Cow<'static, str>>) -> Self {
        Rejection {
            outcome: SignatureOutcome::Expired,
            detail: detail.into(),
        }
    }

    pub(super) fn replayed(detail: impl Into<Cow<'static, str>>) -> Self {
        Rejection {
            outcome: SignatureOutcome::Replayed,
            detail: detail.into(),
        }
    }

    /// The one text for a wrong signature, a wrong secret and an unknown client.
    pub(super) fn wrong_signature() -> Self {
        Rejection::invalid("no secret of this route makes this signature of this request")
    }
}

/// The scheme of one entry, ready to check. `route` names the client where none is named.
pub(super) fn build(
    config: &Config,
    route: &Arc<str>,
    memory: &Memory,
) -> Result<Box<dyn Scheme>, String> {
    let replay = memory.store(config);
    let tolerance = config.tolerance;
    Ok(match &config.scheme {
        SchemeConfig::Hmac(hmac) => Box::new(hmac::Hmac::new(hmac, tolerance, replay, memory)?),
        SchemeConfig::Bearer { clients } => Box::new(bearer::Bearer::new(clients)?),
        SchemeConfig::Feishu {
            encrypt_keys,
            verification_token,
        } => Box::new(feishu::Feishu::new(
            encrypt_keys,
            verification_token.as_deref(),
            route.clone(),
            tolerance,
            replay,
        )?),
        SchemeConfig::SimpleSha256 { secrets } => Box::new(simple_sha256::SimpleSha256::new(
            secrets,
            route.clone(),
            tolerance,
            replay,
        )?),
    })
}

/// Names of headers by the scheme's name, each name once.
pub(super) struct ByScheme(Vec<(&'static str, Vec<HeaderName>)>);

impl ByScheme {
    pub(super) fn of(
        schemes: &[Box<dyn Scheme>],
        names: impl Fn(&dyn Scheme) -> &[HeaderName],
    ) -> Self {
        let mut all: Vec<(&'static str, Vec<HeaderName>)> = Vec::new();
        for scheme in schemes {
            let names = names(scheme.as_ref());
            match all.iter_mut().find(|(name, _)| *name == scheme.name()) {
                Some((_, known)) => {
                    known.extend(names.iter().cloned());
                    known.sort_by(|a, b| a.as_str().cmp(b.as_str()));
                    known.dedup();
                }
                None => all.push((scheme.name(), names.to_vec())),
            }
        }
        ByScheme(all)
    }

    pub(super) fn names(&self, scheme: &str) -> &[HeaderName] {
        let found = self.0.iter().find(|(name, _)| *name == scheme);
        found.map_or(&[], |(_, names)| names)
    }
}

/// The secrets that can be matched, each with its place in the file. An empty one (an environment
/// variable that is not set, during a rotation) is never matched: anybody could sign with it.
pub(super) fn usable<'a>(
    secrets: &'a [String],
    whose: &str,
) -> Result<Vec<(usize, &'a str)>, String> {
    let usable: Vec<(usize, &str)> = secrets
        .iter()
        .map(String::as_str)
        .enumerate()
        .filter(|(_, secret)| !secret.is_empty())
        .collect();
    if usable.is_empty() {
        return Err(format!(
            "{whose} has no secret, or only empty ones; give at least one"
        ));
    }
    Ok(usable)
}

/// A text that others are compared with in constant time, whatever their lengths.
pub(super) struct Sealed([u8; 32]);

impl Sealed {
    pub(super) fn new(text: &[u8]) -> Self {
        Sealed(Sha256::digest(text).into())
    }

    /// From the SHA-256 of the text.
    pub(super) fn from_digest(digest: [u8; 32]) -> Self {
        Sealed(digest)
    }

    pub(super) fn matches(&self, other: &Sealed) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Stands in for an entry that cannot be used, and lets nobody in.
pub(super) struct Closed {
    name: &'static str,
}

impl Closed {
    pub(super) fn new(config: &Config) -> Self {
        Closed {
            name: config.scheme.name(),
        }
    }
}

impl Scheme for Closed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_addressed(&self, _headers: &HeaderMap) -> bool {
        true
    }

    fn wanted(&self) -> &str {
        "nothing"
    }

    fn covers_body(&self) -> bool {
        false
    }

    fn check(&self, _request: &Request<'_>, _now: Duration) -> Result<Accepted, Rejection> {
        Err(Rejection::invalid(
            "the signature settings of this route cannot be used; its log says why",
        ))
    }
}
