//! The check of one route: its schemes, and replay protection for what they verified.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::delivery::Claim;
use super::rejection::SignatureRejection;
use super::replay::{Namespace, Seen};
use super::scheme::{Accepted, Context, Descriptor, Identity, Scheme, SignedBy};
use super::shared_stores::SharedStores;
use super::store::ReplayStore;
use super::verdict::SignatureVerdict;
use super::{Config, Request};
use crate::exchange::SignatureOutcome;

/// The check of one route.
pub struct Verifier {
    schemes: Vec<RouteScheme>,
    /// The detail for an unsigned request.
    missing_detail: String,
    challenge: HeaderValue,
    stripped: ByScheme,
    verified: ByScheme,
}

/// One scheme of the route.
struct RouteScheme {
    descriptor: &'static Descriptor,
    scheme: Arc<dyn Scheme>,
    /// `None`: no replay protection.
    store: Option<ReplayStore>,
    namespaces: Box<[Namespace]>,
}

/// A request whose signature has been checked, valid or not, before replay protection.
#[must_use = "replay protection comes after it"]
pub struct CheckedRequest<'v>(VerificationStep<'v>);

enum VerificationStep<'v> {
    Decided(SignatureVerdict),
    Valid {
        by: SignedBy,
        identity: Identity,
        store: &'v ReplayStore,
        scheme: &'v RouteScheme,
    },
}

impl Verifier {
    /// A verifier whose replay store is one of `stores`, which all routes share. `None` when the route requires no signature.
    #[must_use]
    pub fn new(schemes: &[Config], stores: &SharedStores) -> Option<Self> {
        if schemes.is_empty() {
            return None;
        }
        let schemes: Vec<RouteScheme> = schemes
            .iter()
            .map(|config| RouteScheme {
                descriptor: config.descriptor,
                scheme: config.scheme.clone(),
                store: stores.of(&config.demand),
                namespaces: stores.namespaces(&config.demand),
            })
            .collect();
        let required: Vec<String> = schemes
            .iter()
            .map(|one| {
                let credentials = one.scheme.required_credentials();
                format!("{credentials} ({})", one.descriptor.name)
            })
            .collect();
        Some(Verifier {
            missing_detail: format!("send {}", required.join(", or ")),
            challenge: challenge(&schemes),
            stripped: ByScheme::of(&schemes, |scheme| scheme.stripped_headers()),
            verified: ByScheme::of(&schemes, |scheme| scheme.verified_headers()),
            schemes,
        })
    }

    /// Whether a verdict depends on the body: then the whole body is read first.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        self.schemes.iter().any(|one| one.scheme.reads_body())
    }

    /// The value of `WWW-Authenticate` in a 401 (RFC 9110, section 15.5.2): all schemes of the route.
    #[must_use]
    pub fn challenge(&self) -> &HeaderValue {
        &self.challenge
    }

    /// Names of headers that the backend does not get when `scheme` (of the verdict) decided: the
    /// credential was for weir itself.
    #[must_use]
    pub fn stripped_headers(&self, scheme: &str) -> &[HeaderName] {
        self.stripped.names(scheme)
    }

    /// Names of headers that are forwarded and were verified when `scheme` (of the verdict) decided: they
    /// differ even between identical requests.
    #[must_use]
    pub fn verified_headers(&self, scheme: &str) -> &[HeaderName] {
        self.verified.names(scheme)
    }

    /// Verifies one request at `now` (since the Unix epoch). Nothing is stored yet.
    pub fn verify(&self, request: &Request<'_>, now: Duration) -> CheckedRequest<'_> {
        for one in &self.schemes {
            if one.scheme.is_addressed(request.headers) {
                return one.settle(one.scheme.verify(request, &one.context(now)));
            }
        }
        for one in &self.schemes {
            if let Some(result) = one.scheme.verify_unsigned(request, &one.context(now)) {
                return one.settle(result);
            }
        }
        let first = self.schemes.first();
        let first = first.map_or("none", |first| first.descriptor.name);
        CheckedRequest(VerificationStep::Decided(SignatureVerdict {
            detail: self.missing_detail.clone(),
            ..SignatureVerdict::new(first, SignatureOutcome::Missing)
        }))
    }
}

impl RouteScheme {
    fn context(&self, now: Duration) -> Context<'_> {
        let namespaces = self.store.as_ref().map(|_| &*self.namespaces);
        Context { now, namespaces }
    }

    fn settle(&self, result: Result<Accepted, SignatureRejection>) -> CheckedRequest<'_> {
        let scheme = self.descriptor;
        CheckedRequest(match (result, &self.store) {
            (
                Ok(Accepted::Valid {
                    by,
                    identity: Some(identity),
                }),
                Some(store),
            ) => VerificationStep::Valid {
                by,
                identity,
                store,
                scheme: self,
            },
            (Ok(Accepted::Valid { by, .. }), _) => {
                VerificationStep::Decided(SignatureVerdict::valid(scheme, by))
            }
            (Ok(Accepted::Handshake { key, response }), _) => {
                VerificationStep::Decided(SignatureVerdict {
                    key,
                    response: Some(response),
                    ..SignatureVerdict::new(scheme.name, SignatureOutcome::Handshake)
                })
            }
            (Err(rejection), _) => {
                VerificationStep::Decided(SignatureVerdict::rejected(scheme, rejection))
            }
        })
    }
}

impl CheckedRequest<'_> {
    /// Replay protection: stores what identifies the valid request. Of two equal requests at the same time one is valid.
    pub async fn check_and_insert(self, now: Duration) -> SignatureVerdict {
        let (by, identity, store, one) = match self.0 {
            VerificationStep::Decided(verdict) => return verdict,
            VerificationStep::Valid {
                by,
                identity,
                store,
                scheme,
            } => (by, identity, store, scheme),
        };
        let valid = SignatureVerdict::valid(one.descriptor, by);
        match (identity, one.descriptor.redelivery) {
            (Identity::Delivery(key), Some(redelivery)) => {
                let repeat = match store.claim(key, now, redelivery.respond_within).await {
                    Claim::First(delivery) => {
                        return SignatureVerdict {
                            delivery: Some(delivery),
                            ..valid
                        };
                    }
                    Claim::InProgress(repeat) => Some(repeat),
                    Claim::Accepted => None,
                };
                valid.duplicate((redelivery.acknowledgement)(), repeat)
            }
            (Identity::Nonce(key) | Identity::Delivery(key), _) => {
                match store.check_and_insert(key, now).await {
                    Seen::First => valid,
                    Seen::Before => {
                        let rejection = SignatureRejection::replayed(one.scheme.replayed_detail());
                        SignatureVerdict::rejected(one.descriptor, rejection)
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.schemes.iter().map(|one| one.descriptor.name);
        formatter.debug_list().entries(names).finish()
    }
}

fn challenge(schemes: &[RouteScheme]) -> HeaderValue {
    let names: Vec<_> = schemes.iter().map(|one| one.descriptor.challenge).collect();
    // Tokens and commas: the fallback is never used.
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// Names of headers by the scheme's name, each name once.
struct ByScheme(Vec<(&'static str, Vec<HeaderName>)>);

impl ByScheme {
    fn of(schemes: &[RouteScheme], names: impl Fn(&dyn Scheme) -> &[HeaderName]) -> Self {
        let mut all: Vec<(&'static str, Vec<HeaderName>)> = Vec::new();
        for one in schemes {
            let names = names(one.scheme.as_ref());
            match all
                .iter_mut()
                .find(|(name, _)| *name == one.descriptor.name)
            {
                Some((_, known)) => {
                    known.extend(names.iter().cloned());
                    known.sort_by(|a, b| a.as_str().cmp(b.as_str()));
                    known.dedup();
                }
                None => all.push((one.descriptor.name, names.to_vec())),
            }
        }
        ByScheme(all)
    }

    fn names(&self, scheme: &str) -> &[HeaderName] {
        let found = self.0.iter().find(|(name, _)| *name == scheme);
        found.map_or(&[], |(_, names)| names)
    }
}
