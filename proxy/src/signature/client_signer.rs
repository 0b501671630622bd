//! Signs as a client of a configured scheme: its credentials, from the configuration of a route, and the properties of
//! its scheme. The load tester sends requests with it.
//!
//! The tests below verify the properties that a scheme states.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Config;
use super::credentials::{Credential, Credentials, SignedHeaders, ToSign};
use super::error::SignError;
use super::scheme::{Descriptor, Message};

pub use super::credentials::{Again, Distinct};

/// One way to be authenticated.
#[derive(Clone)]
pub struct Signer {
    scheme: &'static Descriptor,
    credentials: Credentials,
    /// How old a request may be; `None`: its age is not checked.
    pub age_max: Option<Duration>,
    /// The treatment of a repeated request.
    pub again: Again,
    /// What distinguishes two requests with the same body.
    pub distinct: Distinct,
}

impl Signer {
    /// All ways of one entry of `signature`.
    ///
    /// # Errors
    /// A client of it cannot be simulated.
    pub fn of(config: &Config) -> Result<Vec<Signer>, SignError> {
        let all = config.scheme.credentials()?.into_iter();
        let signers = all.map(|credentials| Signer {
            scheme: config.descriptor,
            age_max: credentials.age_max,
            again: credentials.again,
            distinct: credentials.distinct,
            credentials,
        });
        Ok(signers.collect())
    }

    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme.name
    }

    /// The client's name, where the scheme has names.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.credentials.client.as_deref()
    }

    /// The headers of a request with `body`; `id` is its own, of visible ASCII.
    ///
    /// # Errors
    /// The id or the secret cannot be used.
    pub fn headers(
        &self,
        at_unix_s: u64,
        id: &str,
        body: &[u8],
    ) -> Result<SignedHeaders, SignError> {
        let Credential::Secret(secret) = &self.credentials.credential else {
            return Ok(Vec::new());
        };
        (self.scheme.sign)(&ToSign {
            secret: secret.expose_secret(),
            at_unix_s,
            id,
            body,
            client: self.client(),
        })
    }

    /// The body in which a platform delivers a message, with an `id` of its own; `None` where the client
    /// of the scheme chooses its bodies itself.
    #[must_use]
    pub fn delivery(&self, text: &str, id: &str) -> Option<Vec<u8>> {
        let redelivery = self.scheme.redelivery?;
        let token = match &self.credentials.credential {
            Credential::Token(token) => token.expose_secret(),
            Credential::Secret(_) => "",
        };
        Some((redelivery.message)(&Message { text, id, token }))
    }

    /// This client with an invalid credential.
    #[must_use]
    pub fn forger(&self) -> Self {
        let forged =
            |secret: &SecretString| SecretString::from(format!("{}0", secret.expose_secret()));
        let mut forger = self.clone();
        forger.credentials.credential = match &self.credentials.credential {
            Credential::Secret(secret) => Credential::Secret(forged(secret)),
            Credential::Token(token) => Credential::Token(forged(token)),
        };
        forger
    }
}

// A secret never reaches a log.
impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Signer")
            .field("scheme", &self.scheme())
            .field("client", &self.client())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::testing::{self, entry, request, verifier};
    use super::super::{Verifier, schemes};
    use super::*;
    use crate::exchange::SignatureOutcome;

    const NOW_S: u64 = 1_800_000_000;

    /// One of each scheme of this version, and of each way that it can be used.
    fn all() -> Vec<Config> {
        let each = schemes::built().map(|scheme| {
            let clients = match scheme.settings.keys.contains(&"clients") {
                true => "clients: [{name: web, secrets: [s3cret]}]",
                false => "secrets: [s3cret]",
            };
            format!("{{scheme: {}, {clients}}}", scheme.name)
        });
        let token = "{scheme: feishu, verification_token: token}".to_owned();
        each.chain([token]).map(|yaml| entry(&yaml)).collect()
    }

    struct Sent {
        headers: HeaderMap,
        body: Vec<u8>,
    }

    fn sent(signer: &Signer, at_unix_s: u64, id: &str) -> Sent {
        let body = signer.delivery("hello", id);
        let body = body.unwrap_or_else(|| b"{}".to_vec());
        let headers = signer.headers(at_unix_s, id, &body).expect("headers");
        let headers = testing::headers(&headers);
        Sent { headers, body }
    }

    async fn outcome(verifier: &Verifier, sent: &Sent) -> SignatureOutcome {
        let now = Duration::from_secs(NOW_S);
        let verdict = testing::check(verifier, &request(&sent.headers, &sent.body), now);
        if let Some(delivery) = verdict.delivery {
            delivery.accepted(now).await;
        }
        verdict.outcome
    }

    #[tokio::test]
    async fn what_a_scheme_states_of_itself_is_what_its_verifier_does() {
        for config in all() {
            let signers = Signer::of(&config).expect("it can be played");
            let signer = signers.first().expect("one");
            let verifier = || verifier(std::slice::from_ref(&config));
            let fresh = sent(signer, NOW_S, "id-1");
            let first = verifier();
            assert_eq!(
                outcome(&first, &fresh).await,
                SignatureOutcome::Valid,
                "{signer:?}"
            );
            let again = match outcome(&first, &fresh).await {
                SignatureOutcome::Valid => Again::Admitted,
                SignatureOutcome::Replayed => Again::Rejected,
                SignatureOutcome::Duplicate => Again::Acknowledged,
                other => panic!("{signer:?}: {other:?}"),
            };
            assert_eq!(again, signer.again, "{signer:?}");
            let other = outcome(&first, &sent(signer, NOW_S, "id-2")).await;
            let distinct = match other {
                SignatureOutcome::Valid => Distinct::Always,
                _ => Distinct::BySecond,
            };
            assert_eq!(distinct, signer.distinct, "{signer:?}");
            let old = signer.age_max.map_or(86_400 * 30, |age| age.as_secs() + 1);
            let stale = outcome(&verifier(), &sent(signer, NOW_S - old, "id-1")).await;
            let is_dated = stale == SignatureOutcome::Expired;
            assert_eq!(is_dated, signer.age_max.is_some(), "{signer:?}: {stale:?}");
            let forged = outcome(&verifier(), &sent(&signer.forger(), NOW_S, "id-1")).await;
            assert_eq!(forged, SignatureOutcome::Invalid, "{signer:?}");
        }
    }

    #[test]
    fn a_client_without_its_key_or_with_a_custom_hmac_cannot_be_played() {
        let custom = entry("{scheme: hmac, secrets: [s], prefix: 'v2='}");
        assert_eq!(Signer::of(&custom).err(), Some(SignError::CustomHmac));
        let hash = "0".repeat(64);
        let hashed = entry(&format!("{{scheme: bearer, secrets: ['sha256:{hash}']}}"));
        assert!(Signer::of(&hashed).expect("none").is_empty());
    }

    #[test]
    fn a_secret_is_in_no_log() {
        for config in all() {
            let shown = format!("{:?}", Signer::of(&config));
            assert!(
                !shown.contains("s3cret") && !shown.contains("token"),
                "{shown}"
            );
        }
    }
}
