//! The parts of every signature scheme: a descriptor, settings that build it, and the verification of requests.
//!
//! A scheme only verifies: it returns what identifies the request, and the gateway keeps that for replay
//! protection ([`super::verifier`]).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::Request;
use super::credentials::{Credentials, SignedHeaders, ToSign};
use super::demand::{ClientKeys, Coverage};
use super::error::{SchemeError, SignError};
use super::rejection::SignatureRejection;
use super::replay::{Namespace, ReplayKey};
use super::secret::HashedSecret;
use crate::settings::changes::Comparison;
use crate::settings::declare::Settings;
use crate::settings::decode::Block;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::node::{FilePosition, YamlNode};
use crate::settings::schema::Mapping;

/// The descriptor of a scheme: one in each scheme's file, listed in [`super::schemes`].
pub(crate) struct Descriptor {
    /// In configurations, events, metrics and `weir sign`.
    pub(crate) name: &'static str,
    /// The default platform label of its routes.
    pub(crate) platform: Option<&'static str>,
    /// Its keys in `weir.yaml` in addition to `scheme`, `tolerance` and `replay`.
    pub(crate) settings: SchemeSettings,
    /// `None`: it has neither a timestamp nor an id.
    pub(crate) windows: Option<Windows>,
    /// Its challenge in a 401 (RFC 9110, section 11.6.1).
    pub(crate) challenge: &'static str,
    /// The title of a rejection, where its credential is not a signature.
    pub(crate) invalid_title: Option<&'static str>,
    /// Of a platform that redelivers what was not acknowledged.
    pub(crate) redelivery: Option<Redelivery>,
    /// The headers that a client sends.
    pub(crate) sign: fn(&ToSign<'_>) -> Result<SignedHeaders, SignError>,
    #[cfg(test)]
    pub(crate) cases: super::scheme_tests::Cases,
}

/// The defaults of `tolerance` and `replay`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) tolerance: Duration,
    pub(crate) replay: Duration,
}

impl Windows {
    /// Of a request that is signed once and sent once.
    pub(crate) const USUAL: Windows = Windows {
        tolerance: Duration::from_secs(300),
        replay: Duration::from_secs(600),
    };
}

/// How the deliveries of a platform are acknowledged.
#[derive(Clone, Copy)]
pub(crate) struct Redelivery {
    /// A delivery needs a response within this time of its arrival.
    pub(crate) respond_within: Duration,
    /// The success response that the platform expects, for a delivery that was accepted before.
    pub(crate) acknowledgement: fn() -> PlatformResponse,
    /// The body in which the platform delivers a text; for the load tester.
    pub(crate) message: fn(&Message<'_>) -> Vec<u8>,
}

/// A message that a platform delivers.
pub(crate) struct Message<'a> {
    pub(crate) text: &'a str,
    /// The id of the delivery.
    pub(crate) id: &'a str,
    /// The verification token; empty where the headers are signed.
    pub(crate) token: &'a str,
}

/// How the settings of a scheme are read and described.
#[derive(Clone, Copy)]
pub(crate) struct SchemeSettings {
    pub(crate) keys: &'static [&'static str],
    pub(crate) read: fn(&Block<'_>, &mut Diagnostics) -> Box<dyn RawScheme>,
    pub(crate) describe: fn(&mut Mapping<'_>),
    pub(crate) compare: fn(&YamlNode, &YamlNode, &mut Comparison),
}

impl SchemeSettings {
    pub(crate) const fn of<T: Settings + RawScheme + 'static>() -> Self {
        SchemeSettings {
            keys: T::KEYS,
            read: |block, diagnostics| Box::new(T::read(block, diagnostics)),
            describe: T::describe,
            compare: T::compare_keys,
        }
    }
}

/// The settings of one entry as they were read.
pub(crate) trait RawScheme {
    /// Checks them and builds the scheme. `None`: errors have been reported.
    fn check(&self, entry: &SchemeEntry<'_>, diagnostics: &mut Diagnostics) -> Option<Built>;

    /// The keys that are in the file, with the positions of their values.
    fn written(&self) -> Vec<(&'static str, FilePosition)>;
}

/// The parts of an entry of `signature` that are not settings of its scheme.
pub(crate) struct SchemeEntry<'a> {
    pub(crate) scheme: &'static str,
    /// Of the key `scheme`.
    pub(crate) path: &'a str,
    pub(crate) place: FilePosition,
    /// The name of the client where none is given.
    pub(crate) route: &'a str,
    pub(crate) tolerance: Duration,
    pub(crate) replay: Duration,
    /// How many errors there were before this entry.
    pub(crate) errors_before: usize,
}

impl SchemeEntry<'_> {
    /// Reports that the scheme needs `what`, unless it is present.
    pub(crate) fn need(&self, is_present: bool, what: &str, diagnostics: &mut Diagnostics) {
        if !is_present {
            let message = format!("the scheme `{}` needs {what}", self.scheme);
            diagnostics.error(self.place, message);
        }
    }

    /// Reports why a scheme could not be built, unless that follows from an error reported before.
    pub(crate) fn built(
        &self,
        built: Result<Built, SchemeError>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Built> {
        if let Err(error) = &built
            && diagnostics.errors() == self.errors_before
        {
            diagnostics.error(self.place, error.to_string());
        }
        built.ok()
    }

    pub(crate) fn client(&self) -> Arc<str> {
        Arc::from(self.route)
    }
}

/// A scheme that was built from its settings.
pub(crate) struct Built {
    pub(crate) scheme: Arc<dyn Scheme>,
    pub(crate) coverage: Coverage,
    pub(crate) settings: String,
    pub(crate) token: Option<HashedSecret>,
    pub(crate) clients: Vec<ClientKeys>,
}

/// A signature scheme. All checks use the raw request; nothing is changed.
pub(crate) trait Scheme: Send + Sync {
    /// Whether the header that carries this scheme's credential is present, valid or not: then this
    /// scheme decides.
    fn is_addressed(&self, headers: &HeaderMap) -> bool;

    /// The required credentials, for the detail of an unsigned request.
    fn required_credentials(&self) -> &str;

    /// Whether a verdict depends on the body.
    fn reads_body(&self) -> bool;

    /// Headers whose credential was for weir itself: the backend does not get them.
    fn stripped_headers(&self) -> &[HeaderName] {
        &[]
    }

    /// Headers that are forwarded and only prove that a request is authentic: once verified, they do not
    /// distinguish requests.
    fn verified_headers(&self) -> &[HeaderName] {
        &[]
    }

    /// In this order: what is missing, what is malformed, the signature, its age.
    fn verify(
        &self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Accepted, SignatureRejection>;

    /// For platforms that send some requests without a header of the scheme. `None`: the request is not for this scheme.
    fn verify_unsigned(
        &self,
        _request: &Request<'_>,
        _context: &Context<'_>,
    ) -> Option<Result<Accepted, SignatureRejection>> {
        None
    }

    /// The detail of a rejection by replay protection.
    fn replayed_detail(&self) -> Cow<'static, str> {
        Cow::Borrowed("this signature was used before")
    }

    /// The credentials with which a client of this scheme can be simulated.
    fn credentials(&self) -> Result<Vec<Credentials>, SignError>;
}

/// What a scheme needs to verify a request, in addition to the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Since the Unix epoch.
    pub(crate) now: Duration,
    /// For each client, in the order of its [`Built::clients`], the namespace of its ids. `None` where replay
    /// protection is off.
    pub(crate) namespaces: Option<&'a [Namespace]>,
}

/// Who signed: a client, and which of its secrets, counted from 0.
#[derive(Debug)]
pub(crate) struct SignedBy {
    pub(crate) client: Arc<str>,
    pub(crate) key: Option<usize>,
}

/// A request that is authentic.
#[derive(Debug)]
pub(crate) enum Accepted {
    Valid {
        by: SignedBy,
        /// `None` where nothing identifies the request, or replay protection is off.
        identity: Option<Identity>,
    },
    Handshake {
        key: Option<usize>,
        response: PlatformResponse,
    },
}

/// What identifies a request for replay protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A nonce or signature: a second request with it is rejected.
    Nonce(ReplayKey),
    /// The id of a platform's delivery: it is redelivered until it is acknowledged (idempotency).
    Delivery(ReplayKey),
}

/// A response that a platform expects from weir itself.
#[derive(Debug)]
pub struct PlatformResponse {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}
