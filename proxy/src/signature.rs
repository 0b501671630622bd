//! Stage three: is the request from whom it says, fresh, and not seen before. A platform's handshake
//! is answered here.
//!
//! It checks the raw bytes of the body as they arrived and never changes them. Nothing reaches a
//! backend before its verdict.
//!
//! One file a scheme, all behind one trait (`scheme`); each of them must pass the same table
//! (`scheme_tests`). Whoever cannot sign learns nothing: a wrong signature, an unknown client and a
//! wrong secret are told in the same words, and a timestamp is judged only when its signature holds.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::exchange::SignatureOutcome;

use self::memory::Memory;
use self::scheme::{ByScheme, Scheme};

mod demand;
mod scheme;

mod bearer;
mod feishu;
mod hmac;
mod simple_sha256;

pub mod delivery;
mod headers;
pub mod memory;
mod replay;
mod verdict;

pub use verdict::{PlatformAnswer, Verdict};

pub mod sign;
pub mod signer;

#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod scheme_tests;
#[cfg(test)]
mod vector_tests;

/// The scheme of one entry of `signature`, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    pub scheme: SchemeConfig,
    /// How old or how far ahead a timestamp may be.
    pub tolerance: Duration,
    /// How long an id or signature is remembered; zero: not at all.
    pub replay: Duration,
}

/// What each scheme is made of.
#[derive(Clone, PartialEq, Eq)]
pub enum SchemeConfig {
    Hmac(HmacConfig),
    Bearer {
        clients: Vec<Client>,
    },
    /// `encrypt_keys` may be empty: then only the verification token is checked.
    Feishu {
        encrypt_keys: Vec<String>,
        verification_token: Option<String>,
    },
    SimpleSha256 {
        secrets: Vec<String>,
    },
}

/// A named caller and its secrets: any of them is good.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    pub name: Arc<str>,
    pub secrets: Vec<String>,
}

/// weir's own scheme; every part of it can be configured.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacConfig {
    pub clients: Vec<Client>,
    pub key_header: String,
    pub timestamp_header: String,
    pub id_header: String,
    pub signature_header: String,
    /// Before the encoded signature: `v1=`.
    pub prefix: String,
    /// Template of `{timestamp}`, `{id}`, `{body}`, `{method}`, `{path}`, `{query}` and literals.
    pub signed: String,
    pub algorithm: HmacAlgorithm,
    pub key_encoding: Encoding,
    pub signature_encoding: Encoding,
}

impl HmacConfig {
    /// The scheme as weir defines it: `X-Weir-Signature: v1=` and the hex of HMAC-SHA256 over
    /// `timestamp.id.body`.
    #[must_use]
    pub fn weir(clients: Vec<Client>) -> Self {
        HmacConfig {
            clients,
            key_header: "X-Weir-Key".to_owned(),
            timestamp_header: "X-Weir-Timestamp".to_owned(),
            id_header: "X-Weir-Id".to_owned(),
            signature_header: "X-Weir-Signature".to_owned(),
            prefix: "v1=".to_owned(),
            signed: "{timestamp}.{id}.{body}".to_owned(),
            algorithm: HmacAlgorithm::Sha256,
            key_encoding: Encoding::Raw,
            signature_encoding: Encoding::Hex,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it stands; for keys only.
    Raw,
    Hex,
    Base64,
}

impl SchemeConfig {
    /// What the scheme is called in configurations, events and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            SchemeConfig::Hmac(_) => hmac::NAME,
            SchemeConfig::Bearer { .. } => bearer::NAME,
            SchemeConfig::Feishu { .. } => feishu::NAME,
            SchemeConfig::SimpleSha256 { .. } => simple_sha256::NAME,
        }
    }

    /// What a verified client can be called; `route` where the scheme has no named clients.
    #[must_use]
    pub fn client_names<'a>(&'a self, route: &'a str) -> Vec<&'a str> {
        match self {
            SchemeConfig::Hmac(HmacConfig { clients, .. }) | SchemeConfig::Bearer { clients } => {
                clients.iter().map(|client| &*client.name).collect()
            }
            SchemeConfig::Feishu { .. } | SchemeConfig::SimpleSha256 { .. } => vec![route],
        }
    }
}

impl Config {
    /// Whether a gate can be made of it.
    ///
    /// # Errors
    /// What is wrong and what to write instead; never with a secret's text.
    pub fn validate(&self) -> Result<(), String> {
        scheme::build(self, &Arc::from(""), &Memory::new([self])).map(|_| ())
    }
}

// Secrets never reach a log, also not through `{:?}`.
impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("signature::Config")
            .field("tolerance", &self.tolerance)
            .field("replay", &self.replay)
            .finish_non_exhaustive()
    }
}

/// What a scheme may look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// As it arrived, without the question mark.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// The raw bytes.
    pub body: &'a [u8],
}

/// The check of one route.
pub struct Gate {
    schemes: Vec<Box<dyn Scheme>>,
    /// What a request without any of the headers is told.
    missing_detail: String,
    challenge: HeaderValue,
    withheld: ByScheme,
    verified: ByScheme,
}

impl Gate {
    /// One that remembers by itself. `None` when the route asks for no signature. `route` is the client's
    /// name where a scheme has no named clients. An entry that [`Config::validate`] would refuse makes a
    /// gate that refuses every request: it fails closed.
    #[must_use]
    pub fn new(schemes: &[Config], route: &Arc<str>) -> Option<Self> {
        Gate::sharing(schemes, route, &Memory::new(schemes))
    }

    /// As [`Gate::new`], with the memory of all routes.
    #[must_use]
    pub fn sharing(schemes: &[Config], route: &Arc<str>, memory: &Memory) -> Option<Self> {
        if schemes.is_empty() {
            return None;
        }
        let schemes: Vec<Box<dyn Scheme>> = schemes
            .iter()
            .map(|config| match scheme::build(config, route, memory) {
                Ok(scheme) => scheme,
                Err(reason) => {
                    log::error!("route {route}: every request is refused: {reason}");
                    Box::new(scheme::Closed::new(config))
                }
            })
            .collect();
        let wanted: Vec<String> = schemes
            .iter()
            .map(|scheme| format!("{} ({})", scheme.wanted(), scheme.name()))
            .collect();
        Some(Gate {
            missing_detail: format!("send {}", wanted.join(", or ")),
            challenge: challenge(&schemes),
            withheld: ByScheme::of(&schemes, |scheme| scheme.withheld_headers()),
            verified: ByScheme::of(&schemes, |scheme| scheme.verified_headers()),
            schemes,
        })
    }

    /// Whether a verdict depends on the body: then the whole body is read first.
    #[must_use]
    pub fn covers_body(&self) -> bool {
        self.schemes.iter().any(|scheme| scheme.covers_body())
    }

    /// The value of `WWW-Authenticate` in a 401 (RFC 9110, section 15.5.2): all schemes of the route.
    #[must_use]
    pub fn challenge(&self) -> &HeaderValue {
        &self.challenge
    }

    /// Names of headers that must not go on to the backend when `scheme` (of the verdict) decided:
    /// the credential was for weir itself.
    #[must_use]
    pub fn withheld_headers(&self, scheme: &str) -> &[HeaderName] {
        self.withheld.names(scheme)
    }

    /// Names of headers that go on and were checked when `scheme` (of the verdict) decided: they are
    /// other ones in each request, whatever it asks.
    #[must_use]
    pub fn verified_headers(&self, scheme: &str) -> &[HeaderName] {
        self.verified.names(scheme)
    }

    /// Checks one request at `now` (since the Unix epoch). The request is remembered against replay
    /// only after it has been found valid; of two equal requests at the same time one is valid.
    #[must_use]
    pub fn check(&self, request: &Request<'_>, now: Duration) -> Verdict {
        for scheme in &self.schemes {
            if scheme.is_addressed(request.headers) {
                return Verdict::of(scheme.as_ref(), scheme.check(request, now));
            }
        }
        for scheme in &self.schemes {
            if let Some(result) = scheme.check_unsigned(request, now) {
                return Verdict::of(scheme.as_ref(), result);
            }
        }
        let first = self.schemes.first();
        Verdict {
            detail: self.missing_detail.clone(),
            ..Verdict::new(
                first.map_or("none", |first| first.name()),
                SignatureOutcome::Missing,
            )
        }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_list()
            .entries(self.schemes.iter().map(|scheme| scheme.name()))
            .finish()
    }
}

fn challenge(schemes: &[Box<dyn Scheme>]) -> HeaderValue {
    let mut value = Vec::new();
    for scheme in schemes {
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(scheme.challenge().as_bytes());
    }
    // Tokens and commas: the fallback is never taken.
    HeaderValue::from_bytes(&value).unwrap_or(HeaderValue::from_static("Bearer"))
}
