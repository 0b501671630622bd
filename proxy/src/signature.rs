//! Stage three: is the request from whom it says, fresh, and not seen before. A platform's handshake
//! is answered here.
//!
//! It checks the raw bytes of the body as they arrived and never changes them. Nothing reaches a
//! backend before its verdict.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};

use crate::exchange::SignatureOutcome;

/// The scheme of one entry of `signature`, checked.
#[derive(Clone)]
pub struct Config {
    pub scheme: SchemeConfig,
    /// How old or how far ahead a timestamp may be.
    pub tolerance: Duration,
    /// How long an id or signature is remembered; zero: not at all.
    pub replay: Duration,
}

/// What each scheme is made of.
#[derive(Clone)]
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
#[derive(Clone)]
pub struct Client {
    pub name: Arc<str>,
    pub secrets: Vec<String>,
}

/// weir's own scheme; every part of it can be configured.
#[derive(Clone)]
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

/// What becomes of a request after the check.
#[derive(Debug)]
pub struct Verdict {
    pub scheme: &'static str,
    pub outcome: SignatureOutcome,
    /// The verified client, with `Valid` and `Duplicate`.
    pub client: Option<Arc<str>>,
    /// Which of the client's secrets matched.
    pub key: Option<usize>,
    /// With `Handshake` and `Duplicate`: what the platform is told.
    pub answer: Option<PlatformAnswer>,
    /// For the person who has to mend a refusal: names headers and windows, never secrets.
    pub detail: String,
}

/// An answer that a platform expects from the address itself.
#[derive(Debug)]
pub struct PlatformAnswer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// The check of one route.
pub struct Gate {
    _private: (),
}

impl Gate {
    /// `None` when the route asks for no signature.
    #[must_use]
    pub fn new(schemes: &[Config], route: &Arc<str>) -> Option<Self> {
        let _ = (schemes, route);
        todo!("signature helper")
    }

    /// Whether a verdict depends on the body: then the whole body is read first.
    #[must_use]
    pub fn covers_body(&self) -> bool {
        todo!("signature helper")
    }

    /// Names of headers that must not go on to the backend: the credential was for weir itself.
    #[must_use]
    pub fn withheld_headers(&self) -> &[http::HeaderName] {
        todo!("signature helper")
    }

    /// Checks one request at `now` (since the Unix epoch). The request is remembered against replay
    /// only after it has been found valid.
    #[must_use]
    pub fn check(&self, request: &Request<'_>, now: Duration) -> Verdict {
        let _ = (request, now);
        todo!("signature helper")
    }
}
